package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// housekeep does the housekeeping that is due after a commit: it writes the ledger and makes room
// by priority.
func (m *committer) housekeep(last uint64) {
	if last-m.noted >= ledgerStride {
		m.noted = last
		if err := m.bus.remember(); err != nil {
			m.bus.log.Warn("cannot write the ledger of the streams", "err", err)
		}
	}
	if m.fresh < m.bus.cfg.MaxTracks/64 {
		return
	}
	m.fresh = 0
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := m.makeRoom(ctx); err != nil {
		m.bus.log.Warn("cannot free space in the tracks", "err", err)
	}
}

// makeRoom frees space while the stream is nearly full and tracks differ in priority: it drops the
// oldest quarter of each track of the lowest priority, repeatedly, then of the next one. The last
// message of each track stays, because it records how far the track is. Among equals the stream
// itself drops the oldest messages, also the last one of a track.
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

// victims returns the subjects to purge and how many messages each keeps. They are the subjects of
// the lowest priority at which some track has more than its last message; none if no track has a
// higher one. If they hold at most a sixteenth of all messages they keep only the last one
// each, because dropping quarters of so little would never free enough. A subject of unknown
// priority belongs to no configured track and ranks lowest.
func victims(held map[string]uint64, priorities map[string]Priority) map[string]uint64 {
	rank := func(subject string) int {
		if p, known := priorities[subject]; known {
			return int(p) + 1
		}
		return 0
	}
	lowest, highest := int(High)+1, 0
	for subject, n := range held {
		highest = max(highest, rank(subject))
		if n > 1 {
			lowest = min(lowest, rank(subject))
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
