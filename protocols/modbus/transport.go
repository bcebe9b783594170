package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// send sends one frame and returns the bytes of the answer from the unit to the end of the PDU, or
// nil for a broadcast.
func (l *Link) send(ctx context.Context, adu []byte) ([]byte, error) {
	stop := l.watch(ctx)
	defer stop()
	switch {
	case l.opts.Datagrams:
		return l.sendDatagram(ctx, adu)
	case l.framing == TCP:
		return l.sendTCP(ctx, adu)
	case l.framing.serial():
		return l.sendLine(ctx, adu)
	}
	return l.sendStream(ctx, adu)
}

// Within makes the end of ctx interrupt running transactions until leave is called. Each Do does
// that for its own context; doing it once for many transactions with the same context saves a good
// part of a transaction with a fast device.
func (l *Link) Within(ctx context.Context) (leave func()) {
	l.acquireState()
	stop := l.watch(ctx)
	l.within = ctx.Done()
	return func() {
		l.within = nil
		stop()
		l.releaseState()
	}
}

// watch makes the end of ctx interrupt reading and writing. The returned func stops that; after it
// has returned, no deadline is changed any more.
func (l *Link) watch(ctx context.Context) func() {
	// context.AfterFunc costs more than the context's own method
	after, own := ctx.(interface{ AfterFunc(func()) func() bool })
	if l.within != nil && ctx.Done() == l.within || !own && ctx.Done() == nil {
		return func() {}
	}
	var stop func() bool
	if own {
		stop = after.AfterFunc(l.cut)
	} else {
		stop = context.AfterFunc(ctx, l.cut)
	}
	return func() {
		if !stop() {
			<-l.touched
			l.armed = time.Time{}
		}
	}
}

// readUntil sets the read deadline. An error means that ctx has ended or the conn is dead.
func (l *Link) readUntil(ctx context.Context, t time.Time) error {
	if err := l.conn.SetReadDeadline(t); err != nil {
		return &lostError{err}
	}
	// watch may have set its deadline in the past just before this one was set.
	return ctx.Err()
}

func (l *Link) write(ctx context.Context, adu []byte, until time.Time) error {
	if err := l.conn.SetWriteDeadline(until); err != nil {
		return &lostError{notSent(err)}
	}
	if err := ctx.Err(); err != nil {
		return notSent(noAnswer(ctx, 0))
	}
	begin := l.seen()
	n, err := l.conn.Write(adu)
	l.wrote(begin, adu, n)
	if err == nil {
		return nil
	}
	if n == 0 && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return notSent(noAnswer(ctx, 0))
	}
	return &lostError{fmt.Errorf("write: %w", err)}
}

// sooner returns the earlier of t and the deadline of ctx.
func sooner(ctx context.Context, t time.Time) time.Time {
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}

// runtimeTimer is a Waiter based on runtime timers.
type runtimeTimer struct{}

func (runtimeTimer) Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
