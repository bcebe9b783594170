package mqtt

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gatewayd/protocols/access"
	"gatewayd/protocols/nowait"
)

var errSlow = errors.New("client reads too slowly: write buffer is full")

const (
	stallTimeout = 10 * time.Second // a client that reads no byte for this long is closed
	// A client that was told to disconnect may go on sending for lingerRead and up to lingerBytes.
	lingerRead    = 300 * time.Millisecond
	lingerBytes   = 1 << 20
	lingerTimeout = time.Second // time for queued data at close
	flushChunk    = 16 << 10    // bytes that must be sent within stallTimeout
	burst         = 16          // writes that are sent to a client at once before they are coalesced
	batch         = 16 << 10    // bytes that justify a write at any time
)

// socket is a net.Conn whose Write never blocks. Data that the kernel does not accept at once waits
// in a bounded buffer, which a goroutine empties that exists only while there is something to wait
// for. A socket with frequent writes is written to once per coalesce interval, and whenever a batch
// has gathered: large data gains nothing by waiting, and a burst that the kernel would accept must
// not fill the buffer. On overflow the socket is closed.
type socket struct {
	net.Conn
	guard *listener
	raw   syscall.RawConn // nil: no kernel socket, always use the flusher

	filling func(fd uintptr) bool // s.fill, allocated once
	in      []byte                // read by await, with its capacity; nil: nothing
	at      int                   // bytes of in already consumed
	inErr   error
	parked  bool // the reader has waited for the present data
	begun   bool // something was read
	fresh   bool // nothing in the data read last has required an answer yet
	taken   bool // CONNECT was accepted

	mu      sync.Mutex
	pending []byte
	out     int  // bytes held by the flusher
	flusher bool // a goroutine owns the descriptor for writing
	armed   bool // the timer will flush
	closed  bool
	gone    bool // the descriptor is closed
	// The client has hung up: nothing can be sent to it, but what it sent before is still read.
	mute   bool
	tokens int
	earned atomic.Int32 // tokens not yet added to tokens; the reader has no lock
	refill time.Time
	timer  *time.Timer
}

func (s *socket) init(c net.Conn, g *listener) {
	s.Conn, s.guard, s.tokens = c, g, burst
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.filling = raw, s.fill
		}
	}
}

// Write queues or sends all of b, or closes the socket. It keeps no reference to b.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.mute {
		return len(b), nil
	}
	if s.out+len(s.pending)+len(b) > s.guard.cfg.WriteBuffer {
		s.guard.stats.slow.Add(1)
		s.guard.refused(access.Refusal{Reason: RefusedReader, Cause: errSlow.Error(), Remote: remoteOf(s.Conn)})
		s.abortLocked()
		return 0, errSlow
	}
	if s.flusher {
		s.queue(b)
		return len(b), nil
	}
	if len(s.pending)+len(b) < batch && (s.armed || !s.spend()) {
		s.queue(b)
		if !s.armed {
			s.arm()
		}
		return len(b), nil
	}
	if err := s.lost(s.push(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// lost returns the error of a write, if it ends the socket at once. A client that has hung up
// before it was answered may have sent acknowledgements and a DISCONNECT before; its reader
// processes these first and then finds the end.
func (s *socket) lost(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
		s.mute = true
		s.release()
		return nil
	default:
		s.abortLocked()
	}
	return err
}

// push gives the waiting data and then b to the kernel; the flusher gets what is left.
func (s *socket) push(b []byte) error {
	n, err := s.try(s.pending)
	if err != nil {
		return err
	}
	if n < len(s.pending) {
		s.pending = append(append(s.pending[:0], s.pending[n:]...), b...)
		s.startFlusher()
		return nil
	}
	s.release()
	if n, err = s.try(b); err == nil && n < len(b) {
		s.queue(b[n:])
		s.startFlusher()
	}
	return err
}

// room reports whether n more bytes fit into a quarter of the buffer, so that bulk data leaves
// space for live messages. Anything larger has room when nothing else is waiting.
func (s *socket) room(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.out + len(s.pending)
	return s.closed || waiting == 0 || waiting+n <= s.guard.cfg.WriteBuffer/4
}

func (s *socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// spend takes one token of the bucket that decides between sending now and with the next batch.
func (s *socket) spend() bool {
	interval := s.guard.cfg.Coalesce
	now := time.Now()
	if n := now.Sub(s.refill) / interval; n > 0 {
		s.tokens = int(min(int64(n)+int64(s.tokens), burst))
		s.refill = now
	}
	if s.earned.Load() > 0 {
		s.tokens = min(s.tokens+int(s.earned.Swap(0)), burst)
	}
	if s.tokens == 0 {
		return false
	}
	s.tokens--
	return true
}

func (s *socket) queue(b []byte) {
	if s.pending == nil {
		s.pending = s.guard.buffer()
	}
	s.pending = append(s.pending, b...)
}

func (s *socket) arm() {
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(s.guard.cfg.Coalesce, s.tick)
		return
	}
	s.timer.Reset(s.guard.cfg.Coalesce)
}

// tick sends the batch that gathered during one coalesce interval.
func (s *socket) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.flusher || s.gone {
		return
	}
	if s.lost(s.push(nil)) != nil {
		return
	}
	if s.closed && !s.flusher {
		s.hangUp()
	}
}

func (s *socket) release() {
	if s.pending != nil {
		s.guard.recycle(s.pending)
		s.pending = nil
	}
}

// try gives b to the kernel without waiting and returns how much it accepted.
func (s *socket) try(b []byte) (n int, err error) {
	if s.raw == nil || len(b) == 0 {
		return 0, nil
	}
	s.guard.stats.writes.Add(1)
	outer := s.raw.Write(func(fd uintptr) bool {
		n, err = nowait.Write(fd, b)
		return true // also on EAGAIN: do not wait
	})
	if err == nil || errors.Is(err, syscall.EAGAIN) {
		return n, outer
	}
	return 0, err
}

func (s *socket) startFlusher() {
	s.flusher = true
	s.guard.flushers.Add(1)
	go s.flush()
}

// flush empties the buffer with blocking writes under a deadline, then releases the descriptor.
func (s *socket) flush() {
	defer s.guard.flushers.Done()
	for {
		s.mu.Lock()
		b := s.pending
		s.pending, s.out = nil, len(b)
		if len(b) == 0 || s.gone {
			s.flusher = false
			_ = s.Conn.SetWriteDeadline(time.Time{})
			if s.closed {
				s.hangUp()
			}
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := s.drain(b)
		s.guard.recycle(b)
		s.mu.Lock()
		_ = s.lost(err)
		s.mu.Unlock()
	}
}

func (s *socket) drain(b []byte) error {
	for len(b) > 0 {
		s.mu.Lock()
		if !s.closed { // close has set its own, shorter deadline
			_ = s.Conn.SetWriteDeadline(time.Now().Add(stallTimeout))
		}
		s.mu.Unlock()
		n, err := s.Conn.Write(b[:min(len(b), flushChunk)])
		b = b[n:]
		s.mu.Lock()
		s.out -= n
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close stops reading at once and gives queued data a moment to be sent, without waiting for that.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.flusher || len(s.pending) > 0 {
		_ = s.Conn.SetReadDeadline(time.Unix(1, 0))
		_ = s.Conn.SetWriteDeadline(time.Now().Add(lingerTimeout))
		if !s.flusher {
			s.startFlusher()
		}
		return nil
	}
	s.hangUp()
	return nil
}

// abort closes at once and drops queued data.
func (s *socket) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abortLocked()
}

func (s *socket) abortLocked() {
	s.closed = true
	s.hangUp()
}

func (s *socket) hangUp() {
	if s.gone {
		return
	}
	s.gone = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.release()
	_ = s.Conn.Close()
}

// SetDeadline sets the read deadline only: the library uses it for keep alive, and writes have
// their own timeout.
func (s *socket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a write never waits.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
