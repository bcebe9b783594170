package mqtt

import (
	"context"
	"time"
)

// breath is how long whoever waits for room looks away.
const breath = 5 * time.Millisecond

// AwaitRoom waits until n more bytes for a client fit comfortably into what waits for it and what it owes acknowledgements for:
// whoever has much to say asks before each. One that is away has none until it is back, or its session is over: what is said to it
// with QoS 0 would go nowhere for ever. Its error is that of ctx.
func (s *Server) AwaitRoom(ctx context.Context, to ClientInfo, n int) error {
	for !s.room(to, n) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(breath):
		}
	}
	return nil
}

func (s *Server) room(to ClientInfo, n int) bool {
	cl, ok := s.broker.Clients.Get(to.ID)
	if !ok {
		return true
	}
	c := connOf(cl)
	if c == nil {
		return true
	}
	if cl.Closed() {
		return false
	}
	queued, owed := s.sessions.queued(cl.ID), cl.State.Inflight.Len()
	return (owed == 0 || owed < s.mostQueued(cl)/2) && (queued == 0 || queued+n <= s.queueLimit(cl)/2) && c.room(n)
}
