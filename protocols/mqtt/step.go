package mqtt

import (
	"errors"
	"net"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// step processes one packet. A panic ends this client only.
func (s *Server) step(c *conn) (err error) {
	defer s.survive(c, &err)
	cl := c.client
	var fh packets.FixedHeader
	if err := cl.ReadFixedHeader(&fh); err != nil {
		return err
	}
	if asks(&fh) {
		c.prompted()
	}
	if wait := s.charge(c, &fh); wait > 0 {
		s.slow(cl, c, wait)
	}
	if err := s.process(cl, &fh); err != nil {
		return err
	}
	if cl.Closed() {
		return net.ErrClosed
	}
	c.consumed(fh.Remaining)
	c.refresh(cl.State.Keepalive)
	return nil
}

// asks reports whether a packet requires an answer or ends an exchange. Messages that an
// acknowledgement makes room for are sent at once anyway, see acknowledged.
func asks(fh *packets.FixedHeader) bool {
	return fh.Type != packets.Puback && fh.Type != packets.Pubcomp
}

func (s *Server) process(cl *mochi.Client, fh *packets.FixedHeader) error {
	pk, err := cl.ReadPacket(fh)
	if err != nil {
		return err
	}
	if fh.Type == packets.Connect {
		err = packets.ErrProtocolViolationSecondConnect
	} else {
		err = s.broker.InjectPacket(cl, pk)
	}
	var code packets.Code
	if errors.As(err, &code) && code.Code >= 0x80 && cl.Properties.ProtocolVersion == 5 {
		_ = s.broker.DisconnectClient(cl, code)
	}
	if c := connOf(cl); c.turnedOut.Load() {
		if err == nil {
			err = errTurnedOut
		}
		if cl.Properties.ProtocolVersion == 5 {
			c.linger()
		}
	}
	return err
}

// linger reads for a moment what a client that has been told to disconnect still sends. A socket
// closed with unread data resets the connection, and the client would never learn the reason.
func (c *conn) linger() {
	_ = c.SetReadDeadline(time.Now().Add(lingerRead))
	b := c.guard.buffer()
	defer c.guard.recycle(b)
	b = b[:cap(b)]
	for left := lingerBytes; left > 0; {
		n, err := c.rw.Read(b)
		if left -= n; err != nil {
			return
		}
	}
}

// depart sends the will, and ends the session or keeps it.
func (s *Server) depart(cl *mochi.Client, c *conn, err error) {
	c.left.Store(s.now())
	cl.Stop(err)
	cause := cl.StopCause()
	if errors.Is(cause, packets.CodeDisconnect) {
		cause = nil
	} else if cl.Properties.Will.Flag != 0 && !s.closing.Load() {
		s.leaveWill(cl, c)
	}
	s.tell(SessionEvent{Kind: SessionDisconnected, Client: c.info, Err: cause, Kept: !endsWithConnection(cl) && !s.closing.Load()})
	place := s.place(cl.ID)
	place.Lock()
	var gone []string
	if !c.replaced.Load() && endsWithConnection(cl) {
		gone = s.remove(cl)
	}
	place.Unlock()
	s.tellUnsubscribed(c, gone)
	if !endsWithConnection(cl) && !c.replaced.Load() {
		s.keepSession(cl) // DISCONNECT may have changed the expiry
		s.trimSessions()
	}
}
