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
	stallTimeout  = 10 * time.Second       // a client that takes no byte for so long is closed
	lingerRead    = 300 * time.Millisecond // a client that was told to go may go on sending for so long,
	lingerBytes   = 1 << 20                // and so much
	lingerTimeout = time.Second            // what is queued at close may take so long
	flushChunk    = 16 << 10               // bytes that must get through within stallTimeout
	burst         = 16                     // writes that a client gets at once before they are coalesced
	batch         = 16 << 10               // bytes that are worth a write whenever they come
)

// socket is a net.Conn whose Write never blocks: what the kernel does not take at once waits in a bounded buffer that a
// goroutine, alive only while there is something to wait for, empties. A socket that is written to often is written to
// once per coalesce interval, and whenever a batch has gathered: what is large gains nothing by waiting, and a burst that
// the kernel would take must not fill the buffer. Overflow closes it.
type socket struct {
	net.Conn
	guard *listener
	raw   syscall.RawConn // nil: not a kernel socket, always use the flusher

	filling func(fd uintptr) bool // s.fill, made once
	in      []byte                // read by await, with its capacity; nil: nothing
	at      int                   // how much of in has been taken
	inErr   error
	parked  bool // the reader has waited for what it reads now
	begun   bool // something was read
	fresh   bool // of what was read nothing has been asked yet
	taken   bool // CONNECT was

	mu      sync.Mutex
	pending []byte
	out     int  // bytes the flusher holds
	flusher bool // a goroutine owns the descriptor for writing
	armed   bool // the timer will flush
	closed  bool
	gone    bool // the descriptor is closed
	mute    bool // the client has hung up: nothing reaches it any more, and what it has said before is read
	tokens  int
	earned  atomic.Int32 // tokens, not among those yet; whoever reads has no lock
	refill  time.Time
	timer   *time.Timer
}

func (s *socket) init(c net.Conn, g *listener) {
	s.Conn, s.guard, s.tokens = c, g, burst
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.filling = raw, s.fill
		}
	}
}

// Write queues or sends all of b, or none and closes. It keeps no reference to b.
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

// lost is what a write has failed with, if that ends the socket at once. A client that has hung up before it was answered may have acknowledged
// messages before, and said goodbye: its reader finds the end behind that.
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

// push hands what waits and then b to the kernel; what it does not take is the flusher's.
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

// room reports whether n more bytes fit into a quarter of the buffer, so that bulk leaves space for what is live; whatever is
// larger has room when nothing else waits.
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

// spend takes one token of the bucket that decides between "now" and "with the next batch".
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

// try hands b to the kernel without waiting and returns how much it took.
func (s *socket) try(b []byte) (n int, err error) {
	if s.raw == nil || len(b) == 0 {
		return 0, nil
	}
	s.guard.stats.writes.Add(1)
	outer := s.raw.Write(func(fd uintptr) bool {
		n, err = nowait.Write(fd, b)
		return true // also on EAGAIN: this is the point, do not wait
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

// flush empties the buffer with blocking writes under a deadline, then lets go of the descriptor.
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

// Close stops reading at once, gives what is queued a moment to leave, and does not wait for it.
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

// abort closes at once and drops what is queued.
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

// SetDeadline moves the read deadline only: the library uses it for keep alive, and writes have a clock of their own.
func (s *socket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a write never waits.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
