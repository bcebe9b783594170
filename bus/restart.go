package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Restart stops the embedded server and starts it again in this process; the store is checked and
// repaired as in Start. Connections and subscriptions of Conn resume by themselves; messages
// published meanwhile are buffered and sent afterwards. States are kept in memory and are lost; use
// OnRestart to publish them again. If the old server does not stop before ctx ends, because of a
// stuck disk for instance, Restart returns an error and there is no server until a later Restart.
func (b *Bus) Restart(ctx context.Context) error {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return fmt.Errorf("bus: restart: %w", ctx.Err())
	}
	defer func() { b.turn <- struct{}{} }()
	if b.isClosed() {
		return errors.New("bus: restart: the bus is closed")
	}
	before := [2]uint64{b.conn.nc.Stats().Reconnects, b.conn.keep.Stats().Reconnects}
	if b.conn.nc.IsConnected() {
		brief, cancel := context.WithTimeout(ctx, time.Second)
		_ = b.conn.Flush(brief) // stores pending messages if the store can
		cancel()
	}
	done := b.made(ctx)
	err := b.server.stop(ctx)
	done()
	if err != nil {
		return fmt.Errorf("bus: restart: %w", err)
	}
	err = b.startServer(b.cfg)
	if err != nil && b.cfg.Listen != "" {
		// Running without outside clients is better than not running.
		inside := b.cfg
		inside.Listen = ""
		why := err
		if err = errors.Join(why, b.startServer(inside)); b.server.get() != nil {
			b.note("no client can connect over the network: " + oneLine(why.Error()))
		}
	}
	if b.server.get() == nil {
		return fmt.Errorf("bus: restart: %w", err)
	}
	if e := b.reconnected(ctx, before); e != nil {
		return fmt.Errorf("bus: restart: %w", errors.Join(err, e))
	}
	b.prepare(ctx)
	b.mu.Lock()
	hooks := maps.Clone(b.onRestart)
	b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(hooks)) {
		hooks[id]()
	}
	if err != nil {
		return fmt.Errorf("bus: restart: %w", err)
	}
	return nil
}

// OnRestart registers a function that every later Restart calls, in the restarting goroutine, once
// the server is up, so that states can be published again. stop removes the function.
func (b *Bus) OnRestart(fn func()) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hooks++
	id := b.hooks
	b.onRestart[id] = fn
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.onRestart, id)
	}
}

// made waits for streams that are being created and blocks the creation of others until done is
// called. It gives up after 5 s.
func (b *Bus) made(ctx context.Context) (done func()) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if b.making.TryLock() {
			return b.making.Unlock
		}
		select {
		case <-look.C:
		case <-ctx.Done(): // a stuck disk, for instance
			return func() {}
		}
	}
}

func (b *Bus) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report.Notes = append(b.report.Notes, text)
}

func (b *Bus) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// reconnected waits until both connections have reconnected to the new server.
func (b *Bus) reconnected(ctx context.Context, before [2]uint64) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		main, keep := b.conn.nc, b.conn.keep
		if main.IsConnected() && keep.IsConnected() && main.Stats().Reconnects > before[0] && keep.Stats().Reconnects > before[1] {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("the connection has not come back: %w", ctx.Err())
		}
	}
}
