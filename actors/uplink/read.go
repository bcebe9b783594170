package uplink

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

const (
	openTime = 30 * time.Second
	waitTime = 10 * time.Minute // for what is recorded next
	pause    = 2 * time.Second  // after the store has failed
	handful  = 2                // messages that are read before it is known how many records one has
	most     = 512              // messages that are read at once
)

type (
	opened struct {
		reader *actors.Reader
		tracks []string
		behind measured
		err    error
	}
	took struct {
		messages []actors.Stored
		asked    int
		err      error
	}
	again struct{} // look what can be done now
)

// read has the store read when there is room for more. Nothing is read while nothing can be sent.
func (e *engine) read(c *actors.Context) {
	switch {
	case e.reading || e.paused.After(time.Now()):
	case e.reader == nil || e.reopen:
		e.open(c)
	case e.sender == nil || e.main.records >= 2*e.portions.Records || e.main.bytes >= 2*e.portions.Bytes:
	case e.main.records >= e.mouthful() && e.throttled(): // what is fresh is not to queue up behind it
	default:
		e.reading = true
		reader, asked := e.reader, e.main.appetite(e.portions.Records)
		roused, rouse := context.WithCancel(context.Background())
		e.rouse = rouse
		c.Do(waitTime, func(ctx context.Context) (any, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(roused, cancel)()
			all, err := reader.Next(ctx, asked)
			return took{all, asked, err}, nil
		})
	}
}

// open opens the place in the tracks; what has been read and not sent is read again.
func (e *engine) open(c *actors.Context) {
	e.reading, e.reopen = true, false
	archive, tracks, now, finished := c.Archive(), e.cfg.Tracks, e.cfg.Begin == "now", e.doneWith()
	c.Do(openTime, func(ctx context.Context) (any, error) {
		r, err := archive.Reader(ctx, tracks, now)
		m := opened{reader: r, tracks: append([]string{}, tracks...), err: err}
		if err == nil {
			b, newest, err := backlogOf(ctx, r) // without it some times are corrected later only
			m.behind = measured{b, newest, finished, err}
		}
		return m, nil
	})
}

func (e *engine) opened(c *actors.Context, m opened) {
	e.reading, e.looked = false, true
	if m.err != nil {
		e.pause(c, m.err)
		return
	}
	e.trouble = ""
	if e.sending { // what is under way is not known any more to a place that is opened anew
		e.reopen = true
		return
	}
	e.anew = e.anew || m.reader.Anew()
	if e.join(); m.reader.Anew() || e.reads != nil && !slices.Equal(e.reads, m.tracks) {
		e.forgetAhead()
	}
	e.reads = m.tracks
	follow := e.main.follow
	follow.Again()
	learn(&follow, m.behind.newest)
	e.reader, e.main, e.settled = m.reader, lane{follow: follow, density: e.main.density}, 0
	e.measured(c, m.behind)
}

// newestOf are the newest chunks of tracks: they tell when a boot began whose clock was not right at first.
func newestOf(behind []actors.Behind) (all [][]byte) {
	for _, b := range behind {
		if b.Newest.ContentType == record.ChunkType {
			all = append(all, b.Newest.Data)
		}
	}
	return all
}

func learn(f *record.Follow, chunks [][]byte) {
	for _, p := range chunks {
		_ = f.Learn(p) // what is damaged is told when it is read
	}
}

// learn takes from chunks what they tell of clocks, if that is of use.
func (e *engine) learn(newest [][]byte) {
	for _, l := range [...]*lane{&e.main, &e.fresh} {
		if l.doubtful() {
			learn(&l.follow, newest)
		}
	}
}

// doubtful says whether records wait whose times are not known to be right.
func (l *lane) doubtful() (yes bool) {
	l.each(func(x *entry) bool {
		yes = !x.Trusted
		return !yes
	})
	return yes
}

// pause has the store left alone for a while.
func (e *engine) pause(c *actors.Context, err error) {
	_, e.trouble = actors.Explain(err)
	e.paused = time.Now().Add(pause)
	c.Degraded("the store of tracks: " + e.trouble)
	c.After(pause, again{})
}

// took takes what was read.
func (e *engine) took(c *actors.Context, m took) {
	e.rouse()
	if e.overtaken(m.messages) {
		if e.sending && e.lane == &e.fresh {
			e.held = &m // until it is known what has become of the batch
			return
		}
		e.join()
	}
	if e.reading = false; e.sender == nil {
		e.reader.Shed()
	}
	if m.err != nil {
		if code, _ := actors.Explain(m.err); code != actors.DeadlineExceeded && !e.reopen {
			e.pause(c, m.err)
		}
		return
	}
	e.trouble = ""
	l := &e.main
	if l.filled = len(m.messages) >= m.asked; l.records == 0 {
		l.since = time.Now()
	}
	before := l.records
	for _, s := range m.messages {
		if s.ContentType != record.ChunkType {
			l.push(s.Seq, s.Time, nil)
			continue
		}
		records, gaps, err := l.follow.Chunk(s.Path, s.Data)
		if err != nil {
			c.Log().Warn("a message of a track is passed over", "track", s.Path, "err", err)
		}
		for _, g := range gaps {
			for _, g := range g.Judge(e.reader.Doubts()) {
				e.counts.Lost += g.Records()
				c.Event("gap", &uplinkv1.Gap{Time: timestamppb.Now(), Track: g.Track, From: g.From, To: g.To, Why: g.Why})
			}
		}
		l.push(s.Seq, s.Time, e.without(s.Seq, records))
	}
	l.came(len(m.messages), l.records-before)
	e.settle(c, 0)
}

// settle takes off so many entries, and acknowledges to the store what is done with.
func (e *engine) settle(c *actors.Context, n int) {
	if e.lane == &e.fresh && n > 0 {
		e.settleFresh(n)
		return
	}
	e.settled = max(e.settled, e.main.drop(n))
	if e.settled == 0 {
		return
	}
	e.passed(e.settled)
	if err := e.reader.Ack(e.settled); err != nil { // of what was delivered once more it has to be said once more
		c.Log().Debug("not acknowledged to the store", "err", err) // it is delivered again, and then known
	}
}
