package bus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// doubtful notes in the ledger that messages of tracks have been lost, and with them maybe the last word on how far a track was. Numbers that may
// have been given out must not be given out again: receivers would take what is new for a repetition.
func doubtful(known ledger, losses []Loss, found map[string]server.StreamState) (changed bool) {
	for _, l := range losses {
		if l.Stream == streamTracks {
			e := known[streamTracks]
			e.Doubt = max(e.Doubt, max(e.Last, found[streamTracks].LastSeq)+2*ledgerStride)
			changed = changed || e != known[streamTracks]
			known[streamTracks] = e
		}
	}
	return changed
}

// fill brings the sequence of the tracks beyond what is in doubt: with messages that no reader asks for and that are
// deleted at once.
func (b *Bus) fill(ctx context.Context) error {
	b.mu.Lock()
	doubt := b.ledger[streamTracks].Doubt
	b.mu.Unlock()
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
