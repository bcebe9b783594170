package bus

import "context"

// Writing is the ledger being written to a disk that is stuck, until release is called.
func (b *Bus) Writing() (release func()) {
	b.noting.Lock()
	return b.noting.Unlock
}

// Sending is an answer that is being sent in each open stream, until release is called.
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

// LosePlace takes a reader's place out of the store behind its back.
func (b *Bus) LosePlace(ctx context.Context, name string) error {
	return b.js.DeleteConsumer(ctx, streamTracks, readerName(name))
}
