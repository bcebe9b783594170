package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Writing simulates a write of the ledger to a stuck disk, until release is called.
func (b *Bus) Writing() (release func()) {
	b.noting.Lock()
	return b.noting.Unlock
}

// Sending simulates an answer being sent in each open stream, until release is called.
func (c *Conn) Sending() (release func()) {
	var held []*serving
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	for _, st := range c.streams.all {
		st.mu.Lock()
		held = append(held, st)
	}
	return func() {
		for _, st := range held {
			st.mu.Unlock()
		}
	}
}

// MostStreams is how many streams one caller may have open.
const MostStreams = mostStreams

// LosePlace deletes a reader's consumer from the store without the bus knowing.
func (b *Bus) LosePlace(ctx context.Context, name string) error {
	return b.js.DeleteConsumer(ctx, streamTracks, readerName(name))
}

// ProofOf returns the proof of a message sent over a connection that began at start: that of the
// guest admitted by the present server, or of the guest admitted by the previous server, both with
// that connection id.
func ProofOf(start, present, former time.Time) any {
	of := func(came time.Time, proof string) map[uint64]Guest {
		return map[uint64]Guest{7: {Name: "otto", Of: proof, came: came}}
	}
	b := &Bus{auth: &authenticator{guests: of(present, "present"), former: of(former, "former")}}
	return b.guestOf(sender{Account: accountUser + "otto", ID: 7, Start: start})
}

// Delivered returns how many messages a reader has been sent since its last rewind.
func (b *Bus) Delivered(ctx context.Context, name string) (uint64, error) {
	c, err := b.js.Consumer(ctx, streamTracks, readerName(name))
	if err != nil {
		return 0, err
	}
	return c.CachedInfo().Delivered.Consumer, nil
}

// SlowConsumers returns how many connections the server has closed because they had too much to
// receive.
func (b *Bus) SlowConsumers() int64 { return b.server.get().NumSlowConsumers() }

// Another makes the server of another bus, or none, the current one.
func (b *Bus) Another(other *Bus) (back func()) {
	own, then := b.server.get(), (*server.Server)(nil)
	if other != nil {
		then = other.server.get()
	}
	b.server.set(then)
	return func() { b.server.set(own) }
}
