package mqtt

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// conn is what the library gets as a client's connection: it looks at the first packet, orders and limits what goes out
// (flow) and sits on a socket that never blocks, with TLS in between if there is any.
type conn struct {
	socket
	rw    net.Conn // &socket, or tls on it, or a WebSocket on either
	tls   *tls.Conn
	head  [sniffLen]byte
	seen  int         // bytes in head
	ready atomic.Bool // CONNECT was taken
	flow  flow
	alias aliases // guarded by flow's lock

	left    atomic.Int64 // when it ended, see Server.now; 0: it has not
	reduced bool         // its session expires earlier than the client has asked for

	judged bool // CONNECT was answered with a refusal
	seated bool // it has its place among the clients
	ahead  int  // bytes that the library has read and not used; never less than that

	over      atomic.Bool // its goroutine has ended
	turnedOut atomic.Bool // it has been told to go
	replaced  atomic.Bool // a newer connection of the same id has the session,
	afresh    atomic.Bool // or there is no such session any more

	// Set before any other goroutine can find the client.
	info   ClientInfo
	client *mochi.Client

	granted []grant // the SUBSCRIBE under way
	budget  budget
	traffic traffic
	payload []byte // of the PUBLISH under way
	asked   string // topic beginning with $ of the PUBLISH under way
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

// await returns as soon as there is something of the next packet.
func (c *conn) await() error {
	if c.ahead > 0 || c.rw != net.Conn(&c.socket) { // what is encrypted or framed may have more in store
		return nil
	}
	return c.socket.await()
}

// consumed notes that the library has used a packet whose fixed header says n. Whoever spells n in more bytes than it
// needs is never awaited, which is allowed.
func (c *conn) consumed(n int) {
	c.ahead -= 2 + n
	for n >>= 7; n > 0; n >>= 7 {
		c.ahead--
	}
}

// Read passes bytes on, the first packet's only after they were judged.
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
		return len(b), nil // before version 5 only clients say goodbye; the library does not know
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

// refresh moves the read deadline to one and a half times the keep alive (MQTT 5 §3.1.2.10), seconds; 0: none.
func (c *conn) refresh(keepAlive uint16) {
	var at time.Time
	if keepAlive > 0 {
		at = time.Now().Add(time.Duration(keepAlive) * 3 * time.Second / 2)
	}
	_ = c.SetReadDeadline(at)
}

// established lets held messages go, in the order in which they were published.
func (c *conn) established() error {
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	return c.send(c.flow.open())
}

// acknowledged returns a unit of the client's receive maximum and sends what waited for it.
func (c *conn) acknowledged() error {
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	next := c.flow.credit()
	if len(next) > 0 {
		c.earn() // the client waits for it
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

// Close ends the connection politely: what is queued has a second to leave.
func (c *conn) Close() error {
	if c.rw != net.Conn(&c.socket) && c.rw != nil && c.ready.Load() { // a handshake under way would make this wait
		return c.rw.Close() // says goodbye on the socket, then closes that
	}
	return c.socket.Close()
}

// connOf finds our connection of a client; nil for the inline client.
func connOf(cl *mochi.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}
