package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// tidy is what a commit may bring about: a note of how far the stream is, and room made by priority.
func (m *committer) tidy(last uint64) {
	if last-m.noted >= ledgerStride {
		m.noted = last
		if err := m.bus.remember(); err != nil {
			m.bus.log.Warn("the ledger of the streams could not be written", "err", err)
		}
	}
	if m.fresh < m.bus.cfg.MaxTracks/64 {
		return
	}
	m.fresh = 0
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := m.makeRoom(ctx); err != nil {
		m.bus.log.Warn("no room could be made in the tracks", "err", err)
	}
}

// makeRoom drops quarters of the tracks of the lowest priority while the stream is nearly full and there are others, then of the next one;
// of equals the stream itself drops the oldest. The last message of a track stays, for it
// tells how far the track is.
func (m *committer) makeRoom(ctx context.Context) error {
	s, err := m.bus.js.Stream(ctx, streamTracks)
	if err != nil {
		return err
	}
	full := uint64(m.bus.cfg.MaxTracks / 8 * 7)
	if s.CachedInfo().State.Bytes < full {
		return nil
	}
	for {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil || info.State.Bytes < full {
			return err
		}
		all := victims(info.State.Subjects, m.priorities)
		if len(all) == 0 {
			return nil
		}
		for subject, keep := range all {
			if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(keep)); err != nil {
				return err
			}
		}
	}
}

// victims are the subjects of the lowest priority that has more than the last message of each, with how many each
// keeps; none where all have the same priority. Where they have hardly anything they keep the last one only: else little by little of it would go and never enough.
// What is not known belongs to no track any more, and is the lowest.
func victims(held map[string]uint64, priorities map[string]Priority) map[string]uint64 {
	rank := func(subject string) int {
		if p, known := priorities[subject]; known {
			return int(p) + 1
		}
		return 0
	}
	lowest, highest := int(High)+1, 0
	for subject, n := range held {
		if n > 1 {
			lowest, highest = min(lowest, rank(subject)), max(highest, rank(subject))
		}
	}
	if lowest >= highest {
		return nil
	}
	all, messages, theirs := map[string]uint64{}, uint64(0), uint64(0)
	for subject, n := range held {
		if messages += n; n > 1 && rank(subject) == lowest {
			all[subject] = max(1, n*3/4)
			theirs += n
		}
	}
	if theirs <= messages/16 {
		for subject := range all {
			all[subject] = 1
		}
	}
	return all
}
