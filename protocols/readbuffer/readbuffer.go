// Package readbuffer is the receiving side of a connection in memory: what has arrived and is not read yet, with a read
// deadline, for types that stand in for a net.Conn.
package readbuffer

import (
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Alarm has wake called at t or soon after, in a goroutine of its own choice. It is called with the Buffer's lock held, so it must
// not call wake itself.
type Alarm func(t time.Time, wake func())

// Buffer holds bytes until they are read. It is safe for concurrent use.
type Buffer struct {
	limit int
	alarm Alarm

	mu       sync.Mutex
	changed  sync.Cond
	chunks   [][]byte // none is empty
	size     int      // of all chunks, in bytes
	err      error    // why nothing more will arrive; nil: it may
	deadline time.Time
	planned  time.Time // when the alarm will go off; zero: it will not
}

// New returns an empty Buffer for at most limit bytes; 0: for any number.
func New(limit int, alarm Alarm) *Buffer {
	b := &Buffer{limit: limit, alarm: alarm}
	b.changed.L = &b.mu
	return b
}

// Append adds data behind what is there: one Read may return both. Data for which there is no room is dropped as a whole.
func (b *Buffer) Append(data []byte) {
	b.add(data, func() {
		if last := len(b.chunks) - 1; last >= 0 {
			b.chunks[last] = append(b.chunks[last], data...)
			return
		}
		b.chunks = append(b.chunks, slices.Clone(data))
	})
}

// Put adds data that no Read returns together with data of another Put. The Buffer holds on to data, and does not change it. Data for
// which there is no room is dropped as a whole.
func (b *Buffer) Put(data []byte) {
	b.add(data, func() { b.chunks = append(b.chunks, slices.Clip(data)) })
}

func (b *Buffer) add(data []byte, keep func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(data) == 0 || b.err != nil || b.limit > 0 && b.size+len(data) > b.limit {
		return
	}
	keep()
	b.size += len(data)
	b.changed.Broadcast()
}

// End says that nothing more will arrive: Read returns err when it has returned everything. Only the first End counts.
func (b *Buffer) End(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Close ends every Read with net.ErrClosed, whatever there is to read.
func (b *Buffer) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = net.ErrClosed
	b.changed.Broadcast()
}

// Err is net.ErrClosed after Close, or what End was called with; nil: more may arrive.
func (b *Buffer) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Discard drops what has arrived and is not read.
func (b *Buffer) Discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunks, b.size = nil, 0
}

// Read waits for at least one byte, the end or the deadline. At the deadline it returns os.ErrDeadlineExceeded.
func (b *Buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case len(b.chunks) > 0 && b.err != net.ErrClosed:
			return b.take(p), nil
		case b.err != nil:
			return 0, b.err
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		b.changed.Wait()
	}
}

// take reads from the first chunk. The caller holds the lock.
func (b *Buffer) take(p []byte) int {
	n := copy(p, b.chunks[0])
	b.size -= n
	if b.chunks[0] = b.chunks[0][n:]; len(b.chunks[0]) == 0 {
		b.chunks = b.chunks[1:]
	}
	return n
}

// SetReadDeadline ends every Read at t, one that waits already too; the zero time means never.
func (b *Buffer) SetReadDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.changed.Broadcast()
	b.plan()
}

// plan sets the alarm for the deadline, unless it goes off before that anyway: then it is set again. So a deadline that is moved on with
// every request costs no alarm each time. The caller holds the lock.
func (b *Buffer) plan() {
	if b.deadline.IsZero() || !b.planned.IsZero() && !b.deadline.Before(b.planned) {
		return
	}
	at := b.deadline
	b.planned = at
	b.alarm(at, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.planned.Equal(at) {
			return // another one has been set for an earlier deadline
		}
		b.planned = time.Time{}
		b.changed.Broadcast()
		if b.deadline.After(at) {
			b.plan()
		}
	})
}
