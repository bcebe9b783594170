// Package readbuffer provides the receiving side of an in-memory connection: a buffer of bytes that
// have arrived but have not been read, with a read deadline. It is for types that stand in for a
// net.Conn.
package readbuffer

import (
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Alarm arranges for wake to be called at t or soon after, in a goroutine of its choice. Alarm is
// called with the Buffer's lock held, so it must not call wake itself.
type Alarm func(t time.Time, wake func())

// Buffer holds bytes until they are read. It is safe for concurrent use.
type Buffer struct {
	limit int
	alarm Alarm

	mu       sync.Mutex
	changed  sync.Cond
	chunks   [][]byte // each has at least one byte
	size     int      // total size of chunks in bytes
	err      error    // why nothing more will arrive; nil: more may arrive
	deadline time.Time
	planned  time.Time // time for which the alarm is set; zero: not set
}

// New returns an empty Buffer for at most limit bytes; 0 means no limit.
func New(limit int, alarm Alarm) *Buffer {
	b := &Buffer{limit: limit, alarm: alarm}
	b.changed.L = &b.mu
	return b
}

// Append adds data to the end. One Read may return it together with earlier data. If there is no
// room for all of data, all of it is dropped.
func (b *Buffer) Append(data []byte) {
	b.add(data, func() {
		if last := len(b.chunks) - 1; last >= 0 {
			b.chunks[last] = append(b.chunks[last], data...)
			return
		}
		b.chunks = append(b.chunks, slices.Clone(data))
	})
}

// Put adds data that no Read returns together with data of another Put. The Buffer keeps a
// reference to data but does not modify it. If there is no room for all of data, all of it is
// dropped.
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

// End declares that nothing more will arrive: once all data has been read, Read returns err. Only
// the first call counts.
func (b *Buffer) End(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Close makes every Read return net.ErrClosed, even if there is data to read.
func (b *Buffer) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = net.ErrClosed
	b.changed.Broadcast()
}

// Err returns net.ErrClosed after Close, else the error given to End, or nil if more may arrive.
func (b *Buffer) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Discard drops data that has arrived but has not been read.
func (b *Buffer) Discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunks, b.size = nil, 0
}

// Read waits for at least one byte, the end of the data or the deadline. At the deadline it returns
// os.ErrDeadlineExceeded.
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

// SetReadDeadline sets the time after which Read fails, including a Read that is already waiting.
// The zero time means no deadline.
func (b *Buffer) SetReadDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.changed.Broadcast()
	b.plan()
}

// plan sets the alarm for the deadline. If the alarm is already set for an earlier time, it stays,
// and is set again when it goes off. So extending the deadline with every request does not cost an
// alarm each time. The caller holds the lock.
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
			return // replaced by an alarm for an earlier deadline
		}
		b.planned = time.Time{}
		b.changed.Broadcast()
		if b.deadline.After(at) {
			b.plan()
		}
	})
}
