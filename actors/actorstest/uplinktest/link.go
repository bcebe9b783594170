package uplinktest

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// link is a TCP relay between an uplink and its far end that simulates faults of links.
type link struct {
	to string
	l  net.Listener

	mu     sync.Mutex
	conns  map[*pipe]bool
	down   bool // no connection is accepted
	deaf   bool // new connections are accepted but get no answer
	passed int  // number of connections so far
	way
}

// way is how new connections are treated.
type way struct {
	breaks    bool                           // each is cut at a random point
	perSecond int                            // bytes per second in each direction; 0: no limit
	secure    *tls.Config                    // TLS config towards the uplink; the far end has no TLS
	greet     func(near, far net.Conn) error // called before the TLS handshake
}

// pipe is one connection.
type pipe struct {
	way
	link      *link
	near, far net.Conn
	mute      bool // data is discarded; guarded by the lock of the link
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{to: to, l: l, conns: map[*pipe]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { k.serve(near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		k.set(false)
		all.Wait()
	})
	return k
}

// goes sets how new connections are treated.
func (k *link) goes(w way) {
	k.mu.Lock()
	k.way = w
	k.mu.Unlock()
}

func (k *link) address() string { return k.l.Addr().String() }

func (k *link) serve(near net.Conn) {
	defer near.Close()
	p := &pipe{link: k, near: near}
	if !k.enter(p) {
		return
	}
	defer k.leave(p)
	if p.mute {
		_, _ = io.Copy(io.Discard, near)
		return
	}
	far, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer far.Close()
	if p.perSecond > 0 { // keeps little data in the buffers in between
		_ = near.(*net.TCPConn).SetReadBuffer(2048)
		_ = far.(*net.TCPConn).SetReadBuffer(2048)
	}
	if p.secure != nil {
		if p.greet != nil && p.greet(near, far) != nil {
			return
		}
		s := tls.Server(near, p.secure)
		if s.Handshake() != nil {
			return
		}
		p.near = s
	}
	if !k.reach(p, far) {
		return
	}
	left := -1
	if p.breaks {
		left = rand.IntN(200 << rand.IntN(8)) // from less than a greeting to more than a batch
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(p.near, far, -1) })
	both.Go(func() { p.carry(far, p.near, left) })
	both.Wait()
}

// enter registers a connection, unless the link is down.
func (k *link) enter(p *pipe) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return false
	}
	p.mute, p.way = k.deaf, k.way
	k.conns[p] = true
	k.passed++
	return true
}

// reach sets the far side of a connection. It returns false if the connection was cut meanwhile.
func (k *link) reach(p *pipe, far net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.far = far
	return k.conns[p]
}

func (k *link) leave(p *pipe) {
	k.mu.Lock()
	delete(k.conns, p)
	k.mu.Unlock()
}

// carry copies up to left bytes; -1: no limit. Once a connection is mute it stays mute.
func (p *pipe) carry(to, from net.Conn, left int) {
	defer to.Close()
	defer from.Close()
	size := 4096
	if p.perSecond > 0 {
		size = p.perSecond / 20
	}
	for buf := make([]byte, size); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.link.mu.Lock()
		mute := p.mute
		p.link.mu.Unlock()
		if mute {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if left >= 0 {
			n = min(n, left)
			left -= n
		}
		if _, err := to.Write(buf[:n]); err != nil || left == 0 {
			return
		}
		if p.perSecond > 0 {
			<-time.After(time.Second / 20)
		}
	}
}

// set takes the link up, or cuts all connections and takes it down.
func (k *link) set(up bool) {
	k.mu.Lock()
	k.down = !up
	k.mu.Unlock()
	if !up {
		k.cut()
	}
}

// cut closes the present connections.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.conns {
		_ = p.near.Close()
		if p.far != nil {
			_ = p.far.Close()
		}
		delete(k.conns, p)
	}
}

// hang makes the present connections discard all data without closing them.
func (k *link) hang() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.conns {
		p.mute = true
	}
}

// ignore sets whether new connections are accepted but get no answer.
func (k *link) ignore(all bool) {
	k.mu.Lock()
	k.deaf = all
	k.mu.Unlock()
}

func (k *link) connections() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.passed
}
