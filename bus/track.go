package bus

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// TrackState describes one subject of the track stream.
type TrackState struct {
	Oldest, Newest Stored // Seq 0: none
	Messages       uint64
	First, Last    uint64   // sequences of the oldest and the newest message of all tracks
	Bytes, Room    uint64   // bytes used by all tracks, and their maximum
	Unread         uint64   // oldest sequence that some reader of this subject has not acknowledged; 0: no readers
	Owed           Stored   // oldest message of this subject from Unread on; Seq 0: none
	LossMarks      []uint64 // sequences up to which messages were once lost, and with them the record of how far tracks were; oldest first
}

// LossMark returns the newest of LossMarks, or 0 if there is none.
func (st TrackState) LossMark() uint64 { return entry{LossMarks: st.LossMarks}.lossMark() }

// Track returns the state of one subject, once all its pending writes have been stored or refused.
// Its errors are *Error.
func (c *Conn) Track(ctx context.Context, subject string) (st TrackState, err error) {
	if c.commit == nil {
		return st, Errorf(FailedPrecondition, "only the gateway itself can list its tracks")
	}
	b := c.commit.bus
	if err := c.commit.settled(ctx, subject); err != nil {
		return st, AsError(err)
	}
	if why := b.Report().Store; why != "" {
		return st, Errorf(Unavailable, "the store does not work: %s", why)
	}
	s, err := b.js.Stream(ctx, streamTracks)
	if err == nil {
		var info *jetstream.StreamInfo
		if info, err = s.Info(ctx, jetstream.WithSubjectFilter(subject)); err == nil {
			st.First, st.Last = info.State.FirstSeq, info.State.LastSeq
			st.Messages, st.Bytes, st.Room = info.State.Subjects[subject], info.State.Bytes, uint64(info.Config.MaxBytes)
		}
	}
	if err != nil {
		return st, Errorf(Unavailable, "state of %s: %s", subject, oneLine(err.Error()))
	}
	st.LossMarks = b.lossMarks()
	if newest, ok, err := c.newest(ctx, c.keep, streamTracks, subject); err != nil {
		return st, fmt.Errorf("newest of %s: %w", subject, err)
	} else if ok {
		st.Newest = stored(newest)
	}
	if oldest, ok, err := c.first(ctx, streamTracks, subject, 1); err != nil {
		return st, fmt.Errorf("oldest of %s: %w", subject, err)
	} else if ok {
		st.Oldest = stored(oldest)
	}
	if st.Unread, err = b.unread(ctx, s, subject); err != nil || st.Unread == 0 || st.Unread > st.Newest.Seq {
		return st, err
	}
	owed, ok, err := c.first(ctx, streamTracks, subject, st.Unread)
	if err != nil {
		return st, fmt.Errorf("unread of %s: %w", subject, err)
	} else if ok {
		st.Owed = stored(owed)
	}
	return st, nil
}

// unread returns the oldest sequence that some reader of subject has not acknowledged.
func (b *Bus) unread(ctx context.Context, s jetstream.Stream, subject string) (uint64, error) {
	least := uint64(0)
	all := s.ListConsumers(ctx)
	for info := range all.Info() {
		if !b.places.reads(info.Name) && info.Name != hubConsumer(b.cfg.Gateway) {
			continue
		}
		reads := func(pattern string) bool { return Match(pattern, subject) }
		if reads(info.Config.FilterSubject) || slices.ContainsFunc(info.Config.FilterSubjects, reads) {
			at := b.places.floor(info.Name, info.AckFloor.Stream) + 1
			least = min(cmp.Or(least, at), at)
		}
	}
	if err := all.Err(); err != nil {
		return 0, Errorf(Unavailable, "readers of %s: %s", subject, oneLine(err.Error()))
	}
	return least, nil
}

// first returns the first message on subject from sequence from on.
func (c *Conn) first(ctx context.Context, stream, subject string, from uint64) (r Record, ok bool, err error) {
	_, err = c.fetch(ctx, c.keep, stream, directGet{Seq: from, NextFor: subject}, func(got Record) error {
		r, ok = got, true
		return nil
	})
	return r, ok, err
}

// Stored calls each for the messages of a track from sequence from on, until each returns an error.
func (c *Conn) Stored(ctx context.Context, subject string, from uint64, each func(Stored) error) error {
	_, err := c.scan(ctx, c.keep, streamTracks, subject, max(from, 1), func(r Record) error { return each(stored(r)) })
	return wrap(err, "messages of %s", subject)
}
