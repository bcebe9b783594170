package bus

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// TrackBacklog describes the unacknowledged messages of one track.
type TrackBacklog struct {
	Path           string
	Oldest, Newest Stored
	// The newest message that was delivered, and the oldest that was not; Seq 0: none. Between them
	// messages may have been dropped.
	Held, Next Stored
}

// LossMarks returns the sequences up to which messages of tracks were once lost, including the
// record of how far a track was; oldest first. It never blocks, not even on the disk.
func (r *Reader) LossMarks() []uint64 { return r.conn.commit.bus.lossMarks() }

// Backlog returns the number of unacknowledged messages. With edges it also returns the oldest and
// the newest one of each track that has any, at the cost of two reads per track.
func (r *Reader) Backlog(ctx context.Context, edges bool) (messages uint64, all []TrackBacklog, err error) {
	js := r.conn.commit.bus.js
	consumer, err := js.Consumer(ctx, streamTracks, r.name)
	if err != nil {
		return 0, nil, r.failed("measure", err)
	}
	info := consumer.CachedInfo()
	messages = info.NumPending + uint64(info.NumAckPending)
	if messages == 0 || !edges {
		return messages, nil, nil
	}
	s, err := js.Stream(ctx, streamTracks)
	if err != nil {
		return 0, nil, r.failed("measure", err)
	}
	for _, pattern := range r.patterns {
		found, err := s.Info(ctx, jetstream.WithSubjectFilter(pattern))
		if err != nil {
			return 0, nil, r.failed("measure", err)
		}
		for subject := range found.State.Subjects {
			b, ok, err := r.behind(ctx, subject, info.AckFloor.Stream)
			if err != nil {
				return 0, nil, r.failed("measure", err)
			}
			if ok && !slices.ContainsFunc(all, func(o TrackBacklog) bool { return o.Path == b.Path }) {
				all = append(all, b)
			}
		}
	}
	slices.SortFunc(all, func(a, b TrackBacklog) int { return strings.Compare(a.Path, b.Path) })
	return messages, all, nil
}

func (r *Reader) behind(ctx context.Context, subject string, floor uint64) (b TrackBacklog, ok bool, err error) {
	newest, ok, err := r.conn.newest(ctx, r.conn.keep, streamTracks, subject)
	if err != nil || !ok || newest.Seq <= floor {
		return b, false, err
	}
	b.Newest = stored(newest)
	b.Path = b.Newest.Path
	b.Oldest, b.Held, floor = r.held(subject, floor)
	if b.Held.Seq >= newest.Seq {
		return b, true, nil
	}
	next, ok, err := r.conn.first(ctx, streamTracks, subject, floor+1)
	b.Next = stored(next)
	if b.Held.Seq == 0 {
		b.Oldest = b.Next
	}
	return b, (ok || b.Held.Seq > 0) && err == nil, err
}

// held returns the oldest and the newest message on subject that were delivered and are not
// acknowledged. All others that are not acknowledged have sequences above floor.
func (r *Reader) held(subject string, at uint64) (oldest, newest Stored, floor uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	floor = max(at, r.acked)
	for _, u := range r.unacked {
		floor = max(floor, u.Seq)
		if u.subject != subject {
			continue
		}
		if newest = u.Stored; oldest.Seq == 0 {
			oldest = newest
		}
	}
	return oldest, newest, floor
}
