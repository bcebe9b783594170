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
	openTime  = 30 * time.Second
	waitTime  = 10 * time.Minute // for the next message
	pause     = 2 * time.Second  // after a failure of the store
	firstRead = 2                // messages in the first read, while the number of records per message is unknown
	most      = 512              // messages per read at most
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
	again struct{} // check what can be done now
)

// read reads the store when there is room for more. Nothing is read while nothing can be sent.
func (e *engine) read(c *actors.Context) {
	switch {
	case e.reading || e.paused.After(time.Now()):
	case e.reader == nil || e.reopen:
		e.open(c)
	case e.sender == nil || e.main.records >= 2*e.portions.Records || e.main.bytes >= 2*e.portions.Bytes:
	// Or fresh records would queue up behind the backlog.
	case e.main.records >= e.throttledSize() && e.throttled():
	default:
		e.reading = true
		reader, asked := e.reader, e.main.readSize(e.portions.Records)
		roused, stopWaiting := context.WithCancel(context.Background())
		e.stopWaiting = stopWaiting
		c.Do(waitTime, func(ctx context.Context) (any, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(roused, cancel)()
			all, err := reader.Next(ctx, asked)
			return took{all, asked, err}, nil
		})
	}
}

// open opens the read position. Records that were read but not sent are read again.
func (e *engine) open(c *actors.Context) {
	e.reading, e.reopen = true, false
	archive, tracks, now, finished := c.Archive(), e.cfg.Tracks, e.cfg.Begin == "now", e.doneWith()
	c.Do(openTime, func(ctx context.Context) (any, error) {
		r, err := archive.Reader(ctx, tracks, now)
		m := opened{reader: r, tracks: append([]string{}, tracks...), err: err}
		if err == nil {
			b, newest, err := backlogOf(ctx, r) // if this fails, some times are corrected later
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
	if e.sending { // the new reader would not know the messages under way
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

// newestOf returns the newest chunk of each track. It tells when a boot began whose clock was wrong
// at first.
func newestOf(behind []actors.TrackBacklog) (all [][]byte) {
	for _, b := range behind {
		if b.Newest.ContentType == record.ChunkType {
			all = append(all, b.Newest.Data)
		}
	}
	return all
}

func learn(f *record.Follow, chunks [][]byte) {
	for _, p := range chunks {
		_ = f.Learn(p) // damage is reported when the chunk is read
	}
}

// learn takes clock corrections from chunks, if a waiting record needs one.
func (e *engine) learn(newest [][]byte) {
	for _, l := range [...]*lane{&e.main, &e.fresh} {
		if l.doubtful() {
			learn(&l.follow, newest)
		}
	}
}

// doubtful reports whether a waiting record has a time that is not known to be right.
func (l *lane) doubtful() (yes bool) {
	l.each(func(x *entry) bool {
		yes = !x.Trusted
		return !yes
	})
	return yes
}

// pause leaves the store alone for a while.
func (e *engine) pause(c *actors.Context, err error) {
	_, e.trouble = actors.Explain(err)
	e.paused = time.Now().Add(pause)
	c.Degraded("the store of tracks: " + e.trouble)
	c.After(pause, again{})
}

// took handles messages that were read.
func (e *engine) took(c *actors.Context, m took) {
	e.stopWaiting()
	if e.overtaken(m.messages) {
		if e.sending && e.lane == &e.fresh {
			e.held = &m // until the outcome of the batch is known
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
			c.Log().Warn("skipped a message of a track", "track", s.Path, "err", err)
		}
		for _, g := range gaps {
			for _, g := range g.Judge(e.reader.LossMarks()) {
				e.counts.Lost += g.Records()
				c.Event("gap", &uplinkv1.Gap{Time: timestamppb.Now(), Track: g.Track, From: g.From, To: g.To, Why: g.Why})
			}
		}
		l.push(s.Seq, s.Time, e.without(s.Seq, records))
	}
	l.came(len(m.messages), l.records-before)
	e.settle(c, 0)
}

// settle removes n entries from the current queue and acknowledges complete messages to the store.
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
	if err := e.reader.Ack(e.settled); err != nil { // a redelivered message must be acknowledged again
		// It is redelivered and recognised then.
		c.Log().Debug("cannot acknowledge to the store", "err", err)
	}
}
