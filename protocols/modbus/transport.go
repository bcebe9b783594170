package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// send carries one frame out and the answer in: its bytes from the unit to the end of the PDU; none for a broadcast.
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

// Within makes the end of ctx end what runs until leave is called. Each Do does that for its own context; to do it once for many of them
// with the same context saves a good part of a fast device's transaction.
func (l *Link) Within(ctx context.Context) (leave func()) {
	l.equip()
	stop := l.watch(ctx)
	l.within = ctx.Done()
	return func() {
		l.within = nil
		stop()
		l.strip()
	}
}

// watch makes the end of ctx interrupt reading and writing. The returned func ends that, after which no deadline is touched any more.
func (l *Link) watch(ctx context.Context) func() {
	after, own := ctx.(interface{ AfterFunc(func()) func() bool }) // context.AfterFunc costs more than asking one that knows it by itself
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

// readUntil sets the read deadline; an error means that ctx is over or the conn dead.
func (l *Link) readUntil(ctx context.Context, t time.Time) error {
	if err := l.conn.SetReadDeadline(t); err != nil {
		return &lostError{err}
	}
	// watch may have set its deadline in the past just before.
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

// sooner is the earlier of t and the deadline of ctx.
func sooner(ctx context.Context, t time.Time) time.Time {
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}

// runtimeTimer is the Waiter that needs nothing.
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
