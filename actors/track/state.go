package track

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	trackv1 "gatewayd/schemas/track/v1"
)

// seen is the state of the track at the last look.
type seen struct {
	at      time.Duration // by the monotonic clock
	written uint64
	first   uint64 // sequence of the oldest record on disk
	// Sequence of the oldest record that some reader had not acknowledged, or of the next record;
	// 0: no reader.
	owed   uint64
	newest uint64 // store sequence of the newest chunk
	next   uint64 // sequence of the record after it; 0: unknown
	idle   int    // looks in a row at which there was no need to ask the store
	state  *trackv1.State
}

const (
	lookEvery  = 10 * time.Second
	idleLook   = 60 // after this many looks the store is asked even if nothing was written
	askTime    = 20 * time.Second
	verifyTime = 10 * time.Minute // for reading all records of a track
)

// stand handles the messages about the state of the track.
func (t *track) stand(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case started:
		t.begin(c, m.state)
	case look:
		t.look(c)
	case looked:
		t.compare(c, m.state)
	case verified:
		for _, g := range m.gaps {
			c.Event("lost", &trackv1.Lost{From: g.From, To: g.To, Why: g.Why})
		}
	case unanswered:
		t.unanswered(c, m.err)
	case actors.Failed: // a worker past its deadline
		t.unanswered(c, m.Err)
	}
}

// look asks the store for the state of the track if something was written, and repeats what the
// present trouble is.
func (t *track) look(c *actors.Context) {
	s := &t.store
	if s.trouble != "" {
		t.tellDropped(c)
		t.say(c)
	}
	if t.seen.idle++; s.touched || !s.known || t.seen.idle >= idleLook {
		t.ask(c)
	}
}

// ask asks the store for the state of the track.
func (t *track) ask(c *actors.Context) {
	s := &t.store
	if s.asked {
		return
	}
	s.asked, s.touched, t.seen.idle = true, false, 0
	archive, first := c.Archive(), !s.known
	c.Do(askTime, func(ctx context.Context) (any, error) {
		st, err := archive.Track(ctx, records)
		switch {
		case err != nil:
			return unanswered{err}, nil
		case first:
			return started{st}, nil
		}
		return looked{st}, nil
	})
}

// unanswered handles a store that does not answer; the next look asks again.
func (t *track) unanswered(c *actors.Context, err error) {
	t.store.asked = false
	if !t.store.known {
		t.trouble(c, err)
	}
}

// begin continues where the previous life left off.
func (t *track) begin(c *actors.Context, st actors.TrackState) {
	s := &t.store
	s.asked, s.known, s.next = false, true, 1
	if st.Newest.Seq > 0 {
		if newest, err := record.Decode(c.Name(), st.Newest.Data); err == nil {
			s.next, s.before, s.anchors = newest.Next(), newest.Before+uint64(len(st.Newest.Data)), newest.Anchors
			t.inherit(&newest)
		} else {
			// The sequence is unknown but certainly smaller than this.
			s.next = st.Newest.Seq*record.MaxChunk + 1
		}
	}
	if st.Newest.Seq == 0 && st.First > 1 {
		// It had no record yet, or all were dropped: no dropped one had a larger sequence.
		s.next = (st.First-1)*record.MaxChunk + 1
	}
	mark := st.LossMark()
	if st.Newest.Seq <= mark {
		s.next = max(s.next, mark*record.MaxChunk+1)
	}
	if st.Oldest.Seq > 0 && st.Oldest.Seq <= mark {
		t.verify(c, st.LossMarks)
	}
	if s.unsaid.Records > 0 {
		s.unsaid.From, s.unsaid.To = s.next, s.next+s.skipped-1
	}
	if t.trust.Right() {
		t.corrected(c, t.read())
	}
	if st.Oldest.Seq == 0 { // the first record will be the oldest
		t.seen.first = s.next
	}
	t.compare(c, st)
	t.recovered(c)
	if len(s.waiting) > 0 || s.flight != nil {
		t.write(c)
	}
}

// verify looks for records missing on disk after damage.
func (t *track) verify(c *actors.Context, lossMarks []uint64) {
	archive, name := c.Archive(), c.Name()
	c.Do(verifyTime, func(ctx context.Context) (any, error) {
		var follow record.Follow
		var gaps []record.Gap
		err := archive.Stored(ctx, records, 1, func(m actors.Stored) error {
			_, found, err := follow.Chunk(name, m.Data)
			for _, g := range found {
				gaps = append(gaps, g.Judge(lossMarks)...)
			}
			if err != nil {
				gaps = append(gaps, record.Gap{Track: name, Why: err.Error()})
			}
			return nil
		})
		if err != nil {
			return unanswered{err}, nil
		}
		return verified{gaps}, nil
	})
}

// compare finds the records dropped since the last look. If the newest chunk is about to be
// dropped, it writes a mark, so that the sequence stays on disk.
func (t *track) compare(c *actors.Context, st actors.TrackState) {
	s := &t.store
	s.asked = false
	if head, err := record.DecodeHead(st.Oldest.Data); err == nil {
		if from := t.seen.missed(st, head.First); from < head.First {
			s.dropped += head.First - from
			c.Event("dropped", &trackv1.Dropped{From: from, To: head.First - 1, Records: head.First - from, Why: "no space on disk; not all readers had received them"})
		}
		t.seen.first = head.First
	}
	t.seen.owed, t.seen.newest, t.seen.next = owed(st), st.Newest.Seq, 0
	if head, err := record.DecodeHead(st.Newest.Data); err == nil {
		t.seen.next = head.Next()
	}
	if st.Newest.Seq > 0 && st.Newest.Seq-st.First < (st.Last-st.First)/4 && st.Bytes > st.Room/2 {
		t.mark(c)
	}
	t.measure(st)
	t.say(c)
}

// missed returns the first of the records that were dropped since the last look and that some
// reader had not acknowledged. It returns oldest if there are none.
func (s *seen) missed(st actors.TrackState, oldest uint64) uint64 {
	if s.first == 0 || st.Unread == 0 || st.Unread >= st.Oldest.Seq {
		return oldest
	}
	from := max(s.first, s.owed)
	if st.Unread > s.newest { // everything there at the last look has been acknowledged since
		from = max(from, s.next)
	}
	return min(from, oldest)
}

// owed returns the sequence of the oldest record that some reader has not acknowledged, or of the
// next record; 0: no reader, or unknown.
func owed(st actors.TrackState) uint64 {
	if st.Unread == 0 {
		return 0
	}
	if head, err := record.DecodeHead(st.Owed.Data); err == nil {
		return head.First
	}
	if head, err := record.DecodeHead(st.Newest.Data); err == nil {
		return head.Next()
	}
	return 0
}

// measure keeps the state of the track for publishing.
func (t *track) measure(st actors.TrackState) {
	now := t.read().Uptime
	state := &trackv1.State{First: t.seen.first}
	if d := (now - t.seen.at).Seconds(); d > 0 && t.seen.state != nil {
		state.Rate = float64(t.store.written-t.seen.written) / d
	}
	t.seen.at, t.seen.written = now, t.store.written
	if m, err := record.Measure(st.Oldest.Data, st.Newest.Data); err == nil {
		state.Records, state.Bytes, state.Oldest = m.Records, m.Bytes, stamp(m.Oldest)
	}
	if head, err := record.DecodeHead(st.Newest.Data); err == nil {
		state.Last = head.Next() - 1
	}
	t.seen.state = state
}

// say publishes the state of the track.
func (t *track) say(c *actors.Context) {
	state := t.seen.state
	if state == nil {
		state = &trackv1.State{}
	}
	s := &t.store
	fields := 0
	for _, b := range t.bound {
		fields += len(b)
	}
	c.State(status, &trackv1.State{
		Number: t.cfg.Number, Records: state.Records, Bytes: state.Bytes, First: state.First, Last: state.Last, Oldest: state.Oldest, Rate: state.Rate,
		Dropped: s.dropped, Waiting: uint64(len(s.waiting)), Fields: uint32(fields), Trouble: s.trouble, ClockRight: t.trust.Right(),
	})
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// shown returns a record in its JSON form.
func shown(r *record.Record) *trackv1.Record {
	out := &trackv1.Record{Time: stamp(r.Time), Doubtful: !r.Trusted, Absent: r.Absent, Cause: r.Cause}
	for _, f := range r.Fields {
		v := &trackv1.Value{Name: f.Name, Quality: f.Quality, Cause: f.Cause}
		switch x := f.Value.(type) {
		case float64:
			v.Value = &trackv1.Value_Number{Number: x}
		case int64:
			v.Value = &trackv1.Value_Integer{Integer: x}
		case uint64:
			v.Value = &trackv1.Value_Unsigned{Unsigned: x}
		case bool:
			v.Value = &trackv1.Value_Flag{Flag: x}
		case string:
			v.Value = &trackv1.Value_Text{Text: x}
		}
		out.Fields = append(out.Fields, v)
	}
	return out
}
