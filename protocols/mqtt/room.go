package mqtt

import (
	"context"
	"time"
)

// roomPoll is the interval at which AwaitRoom checks for room.
const roomPoll = 5 * time.Millisecond

// AwaitRoom waits until n more bytes for a client fit easily into its write buffer and its
// unacknowledged messages. A caller with many messages calls it before each. A client that is away
// has no room until it is back or its session ends, because QoS 0 messages to it would be lost. The
// error is that of ctx.
func (s *Server) AwaitRoom(ctx context.Context, to ClientInfo, n int) error {
	for !s.room(to, n) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(roomPoll):
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
