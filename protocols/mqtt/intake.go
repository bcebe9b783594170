package mqtt

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"gatewayd/protocols/nowait"
)

// Read implements io.Reader.
func (s *socket) Read(b []byte) (n int, err error) {
	if s.in != nil {
		n = copy(b, s.in[s.at:])
		if s.at += n; s.at == len(s.in) {
			s.guard.recycle(s.in)
			s.in = nil
		}
		return n, nil
	}
	if n, err = s.Conn.Read(b); n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = s.late(b, err)
	}
	s.begun = s.begun || n > 0
	s.fresh = s.fresh || n > 0
	return n, err
}

// late reads data that arrived in time although the deadline had passed before the goroutine ran.
// On a machine busy with many clients, a client must not be disconnected for that. For CONNECT this
// applies to its first bytes only; otherwise a client that sends a byte now and then would never
// time out.
func (s *socket) late(b []byte, why error) (n int, err error) {
	if s.raw == nil || s.begun && !s.taken || s.isClosed() {
		return 0, why
	}
	err = s.raw.Control(func(fd uintptr) { n, _ = nowait.Read(fd, b) })
	if err != nil || n <= 0 {
		return 0, why
	}
	if !s.taken {
		_ = s.Conn.SetReadDeadline(time.Now().Add(s.guard.cfg.ConnectTimeout))
	}
	return n, nil
}

// prompted is called for a packet that requires an answer. The answer is sent at once, however
// often the client asks, but only once for everything that arrived together.
func (s *socket) prompted() {
	if s.fresh {
		s.fresh = false
		s.earn()
	}
}

// earn takes no lock: the writer holds it while the kernel sends, and the reply to that may be read
// before it is released.
func (s *socket) earn() {
	if s.earned.Load() < burst {
		s.earned.Add(2) // the acknowledgement and the answer
	}
}

// await returns once data has arrived, and holds no buffer while it waits.
func (s *socket) await() error {
	if s.in != nil || s.raw == nil {
		return nil
	}
	err := s.raw.Read(s.filling)
	if errors.Is(err, os.ErrDeadlineExceeded) && !s.isClosed() {
		_ = s.raw.Control(func(fd uintptr) { s.fill(fd) }) // see late
	}
	if s.in != nil {
		s.fresh = true
		return nil
	}
	if err != nil {
		return err
	}
	return s.inErr
}

// yieldEvery is the shortest interval between two yields. A yield wakes a thread of the runtime,
// which under load is a quarter of all work.
const yieldEvery = int64(time.Millisecond)

// yield lets the goroutines that were woken together with a reader run first. Of several readable
// connections the runtime starts the latest first; without the yield a message would overtake a
// subscription that another client had requested before it. Connections that become readable during
// a yield yield as well, since they may have been woken with it.
func (s *Server) yield(c *conn) {
	if !c.parked {
		return
	}
	c.parked = false
	if s.now()-s.yielded.Load() < yieldEvery {
		return
	}
	runtime.Gosched()
	s.yielded.Store(s.now())
}

// fill reads the available data; false: none. It takes no lock: closing the descriptor waits for
// it, and the closing goroutine holds s.mu. It announces its reads to the runtime, unlike package
// nowait: the runtime's monitor, woken by that, starts the actor of a command 15 µs earlier.
//
//go:noinline
func (s *socket) fill(fd uintptr) bool {
	b := s.guard.buffer()
	b = b[:cap(b)]
	n, err := syscall.Read(int(fd), b)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), b)
	}
	if n > 0 {
		s.in, s.at = b[:n], 0
		return true
	}
	s.guard.recycle(b)
	switch {
	case err == syscall.EAGAIN:
		s.parked = true
		return false
	case err == nil:
		err = io.EOF
	}
	s.inErr = err
	return true
}

// SetReadDeadline is ignored once the socket is closed, so that nothing revives its reader.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return s.Conn.SetReadDeadline(t)
}
