package bus

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// recordLossMarks records in the ledger that messages of tracks have been lost, and possibly the
// last record of how far a track was. Sequence numbers that may have been used must not be used
// again: receivers would take new records for duplicates.
func recordLossMarks(known ledger, losses []Loss, found map[string]server.StreamState) (changed bool) {
	for _, l := range losses {
		if l.Stream == streamTracks {
			e := known[streamTracks]
			if mark := max(e.Last, found[streamTracks].LastSeq) + 2*ledgerStride; mark > e.lossMark() {
				all := append(slices.Clone(e.LossMarks), mark)
				e.LossMarks = all[max(0, len(all)-maxLossMarks):]
				known[streamTracks], changed = e, true
			}
		}
	}
	return changed
}

// lossMarks returns the loss marks of the track stream, oldest first. It never blocks, not even
// while the ledger is being written to a stuck disk.
func (b *Bus) lossMarks() []uint64 {
	if all := b.marks.Load(); all != nil {
		return *all
	}
	return nil
}

// skipPastLossMark advances the sequence of the track stream beyond the last loss mark. It writes
// messages that no reader asks for and deletes them at once.
func (b *Bus) skipPastLossMark(ctx context.Context) error {
	mark := entry{LossMarks: b.lossMarks()}.lossMark()
	if mark == 0 {
		return nil
	}
	s, err := b.js.Stream(ctx, streamTracks)
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamTracks, err)
	}
	at := s.CachedInfo().State.LastSeq
	if at >= mark {
		return nil
	}
	const most = 1000
	for round := 0; at < mark; round++ {
		n := int(min(most, mark-at))
		for i := 1; i <= n; i++ {
			m := &nats.Msg{Subject: queueOf(streamTracks), Header: Header{
				"Nats-Batch-Id": {"fill-" + strconv.Itoa(round)}, "Nats-Batch-Sequence": {strconv.Itoa(i)},
			}}
			if i < n {
				if err := b.conn.nc.PublishMsg(m); err != nil {
					return fmt.Errorf("fill: %w", err)
				}
				continue
			}
			m.Header["Nats-Batch-Commit"] = []string{"1"}
			answer, err := b.conn.nc.RequestMsgWithContext(ctx, m)
			if err == nil {
				at, err = acknowledged(answer.Data)
			}
			if err != nil {
				return fmt.Errorf("fill: %w", err)
			}
		}
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(queueOf(streamTracks)))
}
