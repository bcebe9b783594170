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

// doubtful records in the ledger that messages of tracks have been lost, and possibly the last
// record of how far a track was. Sequence numbers that may have been used must not be used again:
// receivers would take new records for duplicates.
func doubtful(known ledger, losses []Loss, found map[string]server.StreamState) (changed bool) {
	for _, l := range losses {
		if l.Stream == streamTracks {
			e := known[streamTracks]
			if doubt := max(e.Last, found[streamTracks].LastSeq) + 2*ledgerStride; doubt > e.doubt() {
				all := append(slices.Clone(e.Doubts), doubt)
				e.Doubts = all[max(0, len(all)-mostDoubts):]
				known[streamTracks], changed = e, true
			}
		}
	}
	return changed
}

// doubts returns the doubts of the track stream, oldest first. It never blocks, not even while the
// ledger is being written to a stuck disk.
func (b *Bus) doubts() []uint64 {
	if all := b.doubtful.Load(); all != nil {
		return *all
	}
	return nil
}

// fill advances the sequence of the track stream beyond the last doubt. It writes messages that no
// reader asks for and deletes them at once.
func (b *Bus) fill(ctx context.Context) error {
	doubt := entry{Doubts: b.doubts()}.doubt()
	if doubt == 0 {
		return nil
	}
	s, err := b.js.Stream(ctx, streamTracks)
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamTracks, err)
	}
	at := s.CachedInfo().State.LastSeq
	if at >= doubt {
		return nil
	}
	const most = 1000
	for round := 0; at < doubt; round++ {
		n := int(min(most, doubt-at))
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
