package mqtt

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"gatewayd/protocols/access"
	"gatewayd/protocols/crowd"
)

const listenerID = "guard"

// host handles connections.
type host interface {
	enter(*conn) error        // an error ends the connection
	step(*conn) error         // called when there is something to read; an error ends the connection
	leave(c *conn, err error) // called once
}

// listener accepts sockets within the limits and runs each client so that a panic ends that client
// only. It implements the library's listeners.Listener.
type listener struct {
	open  []*entrance
	cfg   Config
	stats *counters
	host  host

	mu       sync.Mutex
	conns    map[*conn]struct{}
	perAddr  map[netip.Prefix]int
	closed   bool
	stop     chan struct{}
	serving  sync.WaitGroup
	flushers sync.WaitGroup
	buffers  sync.Pool
}

func newListener(open []*entrance, cfg Config, st *counters) *listener {
	return &listener{
		open: open, cfg: cfg, stats: st,
		conns:   make(map[*conn]struct{}),
		perAddr: make(map[netip.Prefix]int),
		stop:    make(chan struct{}),
	}
}

// Init, ID, Address and Protocol implement the library's interface.
func (l *listener) Init(*slog.Logger) error { return nil }
func (l *listener) ID() string              { return listenerID }
func (l *listener) Address() string         { return l.open[0].Addr().String() }
func (l *listener) Protocol() string        { return l.open[0].Addr().Network() }

// Serve accepts until the listener is closed. A failing Accept (usually out of descriptors) is
// retried for ever with a growing pause: clients that disconnect free descriptors. The library's
// callback is not used; attach handles the connection.
func (l *listener) Serve(listeners.EstablishFn) {
	var others sync.WaitGroup
	for _, e := range l.open[1:] {
		others.Go(func() { l.accept(e) })
	}
	l.accept(l.open[0])
	others.Wait()
}

func (l *listener) accept(e *entrance) {
	pause := time.Duration(0)
	for {
		c, err := e.Accept()
		switch {
		case err == nil:
			pause = 0
			l.admit(c, e)
			continue
		case errors.Is(err, net.ErrClosed) || l.isClosed():
			return
		}
		l.stats.acceptErrors.Add(1)
		l.refused(access.Refusal{Reason: RefusedDescriptors, Cause: err.Error()})
		if pause == 0 {
			l.cfg.Log.Warn("mqtt: cannot accept a connection, trying again", "err", err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
	}
}

// admit starts a client unless a limit is reached.
func (l *listener) admit(c net.Conn, e *entrance) {
	from := crowd.Of(c.RemoteAddr())
	l.mu.Lock()
	var why error
	switch {
	case l.closed:
		why = net.ErrClosed
	case len(l.conns) >= l.cfg.MaxClients:
		why = fmt.Errorf("too many clients: %d are connected", len(l.conns))
	case l.perAddr[from] >= l.cfg.MaxClientsPerAddress:
		why = fmt.Errorf("too many clients: %d are connected from %v", l.perAddr[from], from)
	}
	if why != nil {
		l.mu.Unlock()
		l.refused(access.Refusal{Reason: access.RefusedCrowd, Cause: why.Error(), Remote: remoteOf(c)})
		l.refuse(c, why)
		_ = c.Close()
		return
	}
	k := newConn(c, l, e)
	l.conns[k] = struct{}{}
	l.perAddr[from]++
	l.serving.Add(1)
	l.mu.Unlock()
	go l.serve(k, from)
}

// serve is one client's goroutine. It waits for packets with as little as possible on its stack: if
// that is less than 1.2 KB, the runtime halves an idle client's stack to 4 KB.
func (l *listener) serve(k *conn, from netip.Prefix) {
	defer l.end(k, from)
	err := l.host.enter(k)
	for err == nil {
		if err = k.await(); err == nil {
			err = l.host.step(k)
		}
	}
	l.note(k, err)
}

func (l *listener) note(k *conn, err error) {
	l.host.leave(k, err)
	if reason := k.ended(err); reason != "" {
		k.refused(reason, err)
	}
	if !k.ready.Load() {
		l.stats.strangers.Add(1)
	}
	if err != nil {
		l.cfg.Log.Debug("mqtt: client ended", "client", k.info.ID, "remote", k.RemoteAddr(), "err", err)
	}
}

// end cleans up after serve, even after a panic.
func (l *listener) end(k *conn, from netip.Prefix) {
	defer l.serving.Done()
	if p := recover(); p != nil {
		l.stats.panics.Add(1)
		l.cfg.Log.Error("mqtt: a connection made the broker panic; only that connection is closed",
			"client", k.info.ID, "remote", k.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
		k.abort()
	}
	l.forget(k, from)
}

func (l *listener) forget(k *conn, from netip.Prefix) {
	_ = k.Close()
	k.over.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, k)
	if l.perAddr[from]--; l.perAddr[from] <= 0 {
		delete(l.perAddr, from)
	}
}

func (l *listener) refuse(c net.Conn, why error) {
	l.stats.rejected.Add(1)
	l.cfg.Log.Debug("mqtt: connection refused", "remote", c.RemoteAddr(), "err", why)
}

// Close stops accepting. Server.Close ends the clients, because it may have to cut them off; the
// library's way takes a read lock twice and can hang.
func (l *listener) Close(listeners.CloseFn) { l.shut() }

func (l *listener) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.stop)
	shutAll(l.open)
}

func (l *listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *listener) clients() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*conn, 0, len(l.conns))
	for k := range l.conns {
		out = append(out, k)
	}
	return out
}

// buffer and recycle share write buffers, so that clients with nothing to write need none.
func (l *listener) buffer() []byte {
	if b, ok := l.buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 4<<10)
}

func (l *listener) recycle(b []byte) {
	if cap(b) >= 4<<10 && cap(b) <= 64<<10 {
		l.buffers.Put(&b)
	}
}
