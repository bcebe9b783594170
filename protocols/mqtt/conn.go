package mqtt

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// conn is the connection that the library gets for a client. It checks the first packet, orders and
// limits what is sent (flow), and uses a socket that never blocks, with TLS in between if
// configured.
type conn struct {
	socket
	rw    net.Conn // &socket, or TLS on it, or a WebSocket on either
	tls   *tls.Conn
	head  [sniffLen]byte
	seen  int         // number of bytes in head
	ready atomic.Bool // CONNECT was accepted
	flow  flow
	alias aliases // guarded by flow's lock

	left    atomic.Int64 // when the connection ended, see Server.now; 0: it has not
	reduced bool         // the session expires earlier than the client has asked for

	judged bool // CONNECT was answered with a refusal
	seated bool // the client is in the client table
	// Bytes that the library has read and not yet processed; possibly too high, never too low.
	ahead int

	over      atomic.Bool // the goroutine has ended
	turnedOut atomic.Bool // the client has been told to disconnect
	replaced  atomic.Bool // a newer connection with the same id has taken over the session
	afresh    atomic.Bool // the session no longer exists

	// Set before any other goroutine can find the client.
	info   ClientInfo
	client *mochi.Client

	granted []grant // the SUBSCRIBE being processed
	budget  budget
	traffic traffic
	payload []byte // of the PUBLISH being processed
	asked   string // topic beginning with $ of the PUBLISH being processed
	// The client may not make the PUBLISH being processed; OnPublish refuses it.
	forbidden bool
}

// grant is one filter of a SUBSCRIBE.
type grant struct {
	sub     packets.Subscription
	existed bool
	ok      bool
}

func newConn(c net.Conn, g *listener, e *entrance) *conn {
	k := &conn{}
	k.socket.init(c, g)
	k.rw = &k.socket
	if e.tls != nil {
		k.tls = tls.Server(&k.socket, e.tls)
		k.rw = k.tls
	}
	if e.web {
		k.rw = &webSocket{Conn: k.rw, origins: e.origins}
	}
	k.flow.holding = true
	_ = c.SetReadDeadline(time.Now().Add(g.cfg.ConnectTimeout))
	return k
}

// await returns as soon as some of the next packet has arrived.
func (c *conn) await() error {
	if c.ahead > 0 || c.rw != net.Conn(&c.socket) { // a TLS or WebSocket layer may have buffered more
		return nil
	}
	return c.socket.await()
}

// consumed notes that the library has processed a packet with remaining length n. For a client that
// encodes n in more bytes than necessary, ahead stays too high and await never waits, which is
// harmless.
func (c *conn) consumed(n int) {
	c.ahead -= 2 + n
	for n >>= 7; n > 0; n >>= 7 {
		c.ahead--
	}
}

// Read reads from the connection. The first packet is passed on only after sniffConnect has checked
// it.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.rw.Read(b)
	c.ahead += n
	c.guard.stats.bytesIn.Add(int64(n))
	c.traffic.bytesIn.Add(int64(n))
	if c.ready.Load() || n == 0 {
		return n, err
	}
	if c.seen < sniffLen {
		c.seen += copy(c.head[c.seen:], b[:n])
		if bad := sniffConnect(c.head[:c.seen], min(maxConnect, c.guard.cfg.MaxPacket)); bad != nil {
			c.guard.refuse(c.Conn, bad)
			return 0, bad
		}
	}
	return n, err
}

// Write takes whole MQTT packets. It never blocks and keeps no reference to b.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0]>>4 == typeDisconnect && c.info.Version < 5 {
		return len(b), nil // before version 5 only clients send DISCONNECT; the library ignores that
	}
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	out, err := c.flow.outbound(b, c.guard.cfg.WriteBuffer)
	if err != nil {
		c.guard.stats.slow.Add(1)
		c.refused(RefusedReader, err)
		c.abort()
		return 0, err
	}
	return len(b), c.send(out)
}

// refresh moves the read deadline to one and a half times the keep alive (MQTT 5 §3.1.2.10), which
// is in seconds; 0: none.
func (c *conn) refresh(keepAlive uint16) {
	var at time.Time
	if keepAlive > 0 {
		at = time.Now().Add(time.Duration(keepAlive) * 3 * time.Second / 2)
	}
	_ = c.SetReadDeadline(at)
}

// established sends the held messages, in the order in which they were published.
func (c *conn) established() error {
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	return c.send(c.flow.open())
}

// acknowledged returns a unit of the client's receive maximum and sends the next waiting messages.
func (c *conn) acknowledged() error {
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	next := c.flow.credit()
	if len(next) > 0 {
		c.earn() // the client is waiting for it
	}
	return c.send(next)
}

func (c *conn) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	b = c.alias.apply(b)
	c.guard.stats.bytesOut.Add(int64(len(b)))
	c.traffic.bytesOut.Add(int64(len(b)))
	_, err := c.rw.Write(b)
	return err
}

// Close ends the connection gracefully: queued data has a second to be sent.
func (c *conn) Close() error {
	// Close would wait for a handshake under way.
	if c.rw != net.Conn(&c.socket) && c.rw != nil && c.ready.Load() {
		return c.rw.Close() // sends its closing message and closes the socket
	}
	return c.socket.Close()
}

// connOf returns our connection of a client; nil for the inline client.
func connOf(cl *mochi.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}
