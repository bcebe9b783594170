package uplink

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// tally is what an uplink knows of itself.
type tally struct {
	counts     uplinkv1.Counts
	began      time.Time
	acked      time.Time // the last acknowledgement; zero: none yet
	owing      time.Time // nothing was owed until then
	backlog    record.Backlog
	finished   uint64 // records that were done with before that was measured
	peak       uint64 // the most records of the backlog since there was none
	measuring  bool
	measuredAt time.Time
	rate       float64 // acknowledged records per second, smoothed
	gauged     time.Time
	before     uint64  // acknowledged records then
	ebb        float64 // records per second by which the backlog becomes less, smoothed
	mute       bool    // silence has been told
	said       *uplinkv1.Status
	saidAt     time.Time

	complained time.Time
	untold     uint64
}

const (
	measureTime = 20 * time.Second
	// seldom is how often the backlog is measured at least of an uplink that sends nothing.
	seldom = 30 * time.Second
	// soon is the part of the time for which it has sent nothing after which it is measured as well: what has come since is much at first.
	soon = 4
)

type measured struct {
	backlog  record.Backlog
	newest   [][]byte // chunks of its tracks
	finished uint64   // records that were done with before
	err      error
}

// gauge looks how fast it goes, and how far it is.
func (e *engine) gauge(c *actors.Context) {
	now := time.Now()
	done := e.counts.Acknowledged + e.counts.LeftOut
	if !e.gauged.IsZero() {
		if dt := now.Sub(e.gauged).Seconds(); dt > 0 {
			e.rate += 0.4 * (float64(done-e.before)/dt - e.rate)
		}
		if e.rate < 0.001 {
			e.rate = 0
		}
	}
	moved := done != e.before
	e.gauged, e.before = now, done
	away := e.sender == nil && e.backlog.Records == 0 // then it costs little, and what is recorded shows soon
	last := e.began
	if e.acked.After(last) {
		last = e.acked
	}
	if moved || away || e.main.records > 0 || now.Sub(e.measuredAt) >= min(seldom, now.Sub(last)/soon) {
		e.measure(c)
	}
}

// measure has the store say what is not acknowledged.
func (e *engine) measure(c *actors.Context) {
	if e.reader == nil || e.measuring {
		return
	}
	e.measuring = true
	reader, finished := e.reader, e.doneWith()
	c.Do(measureTime, func(ctx context.Context) (any, error) {
		b, newest, err := backlogOf(ctx, reader)
		return measured{b, newest, finished, err}, nil
	})
}

func backlogOf(ctx context.Context, reader *actors.Reader) (all record.Backlog, newest [][]byte, err error) {
	_, behind, err := reader.Backlog(ctx, true)
	for _, b := range behind {
		if b.Oldest.ContentType != record.ChunkType {
			continue
		}
		one, err := record.Measure(b.Oldest.Data, b.Newest.Data)
		if err != nil {
			continue // a damaged chunk: it is told when it is read
		}
		all.Records += one.Records
		all.Bytes += one.Bytes
		if all.Oldest.IsZero() || !one.Oldest.IsZero() && one.Oldest.Before(all.Oldest) {
			all.Oldest = one.Oldest
		}
	}
	return all, newestOf(behind), err
}

func (e *engine) measured(c *actors.Context, m measured) {
	now := time.Now()
	lasted := now.Sub(e.measuredAt).Seconds()
	e.measuring, e.measuredAt = false, now
	if m.err != nil {
		return
	}
	e.learn(m.newest)
	if e.trouble != "" && e.reading { // it is read again, and the store answers
		if e.trouble = ""; e.sender != nil && e.failures == 0 {
			c.OK()
		}
	}
	b := e.owed(m.backlog)
	if lasted > 0.5 && e.peak > 0 {
		e.ebb += 0.5 * ((float64(e.backlog.Records)-float64(b.Records))/lasted - e.ebb)
	}
	e.finished = m.finished
	if e.backlog = b; e.current() {
		e.peak, e.ebb = 0, 0
		return
	}
	e.peak = max(e.peak, b.Records)
}

// owed is the backlog without what the far end has ahead of the place in the tracks.
func (e *engine) owed(b record.Backlog) record.Backlog {
	b.Records -= min(b.Records, e.early)
	return b
}

// doneWith is how many records of the tracks are.
func (e *engine) doneWith() uint64 {
	return e.counts.Acknowledged + e.counts.LeftOut + e.counts.Rejected
}

// waiting is the backlog as it is now: what was measured last, and what has become of it and come since, as far as it is known here.
func (e *engine) waiting() record.Backlog {
	b := e.backlog
	b.Records -= min(b.Records, e.doneWith()-e.finished)
	if held := uint64(e.main.records + e.fresh.records); held > b.Records {
		b.Records, b.Bytes = held, max(b.Bytes, uint64(e.main.bytes+e.fresh.bytes))
	}
	oldest := &e.main
	if oldest.records == 0 && b.Oldest.IsZero() {
		oldest = &e.fresh
	}
	oldest.each(func(x *entry) bool {
		b.Oldest = x.Time
		return false
	})
	if b.Records == 0 {
		return record.Backlog{}
	}
	return b
}

// current says whether the far end has all but what is recorded now.
func (e *engine) current() bool {
	return e.backlog.Records == 0 || e.sender != nil && !e.main.filled && e.from == 0 && !e.throttled()
}

// grumble tells when nothing has been acknowledged for long.
func (e *engine) grumble(c *actors.Context) {
	limit, now := e.cfg.Silence.AsDuration(), time.Now()
	if e.backlog.Records == 0 && e.main.records == 0 || e.resting != "" {
		if !e.mute {
			e.owing = now
		}
		return
	}
	since := e.owing
	if e.acked.After(since) {
		since = e.acked
	}
	if lasted := now.Sub(since); limit > 0 && lasted >= limit && !e.mute {
		e.mute = true
		c.Event("silent", &uplinkv1.Silent{Time: timestamppb.New(now), Lasted: durationpb.New(lasted), Error: e.error})
	}
}

// told answers the method Status.
func (e *engine) told(c *actors.Context) {
	if e.sender != nil {
		e.count()
	}
	if e.reader == nil {
		c.Reply(&uplinkv1.StatusResponse{Status: e.status()})
		return
	}
	reader, m := e.reader, e.status()
	c.Do(measureTime, func(ctx context.Context) (any, error) {
		b, newest, err := backlogOf(ctx, reader)
		return asked{m, b, newest, err}, nil
	})
}

// asked is a status on its way to who asked for it.
type asked struct {
	status  *uplinkv1.Status
	backlog record.Backlog
	newest  [][]byte
	err     error
}

// reply answers it.
func (e *engine) reply(c *actors.Context, m asked) {
	e.learn(m.newest)
	if m.err == nil {
		b := e.owed(m.backlog)
		m.status.Backlog, m.status.CatchUp = backlogMessage(b, e.peak), e.catchUp(b)
	}
	c.Reply(&uplinkv1.StatusResponse{Status: m.status})
}

// tell publishes the status when something has changed that people look for, and else now and then.
func (e *engine) tell(c *actors.Context) {
	now := time.Now()
	fresh := e.said == nil || e.said.State != e.state() || e.said.Why != e.why() || e.said.Far != e.far.Where ||
		e.said.Acknowledged == nil && !e.acked.IsZero()
	if !fresh && now.Sub(e.saidAt) < e.watch() {
		return
	}
	m := e.status()
	if e.said != nil {
		same := proto.CloneOf(e.said)
		same.Time = m.Time
		if proto.Equal(same, m) {
			return
		}
	}
	e.said, e.saidAt = m, now
	c.State("uplink", m)
}

// state is the status in a word.
func (e *engine) state() string {
	switch {
	case e.resting != "":
		return "resting"
	case e.rounds > 0:
		return "refused"
	case e.sender != nil && e.idle():
		return "idle"
	case e.sender != nil && !e.current() && e.backlog.Records > uint64(e.mouthful()):
		return "catching-up"
	case e.sender != nil:
		return "sending"
	case e.dialling:
		return "connecting"
	case e.tryAt.After(time.Now()):
		return "waiting"
	}
	return "starting"
}

// idle says whether there is nothing to do, and was not just now: what is recorded every few seconds is no change worth telling.
func (e *engine) idle() bool {
	return !e.sending && e.main.records+e.fresh.records == 0 && time.Since(e.acked) >= 2*e.watch()
}

func (e *engine) why() string {
	switch {
	case e.resting != "":
		return e.resting
	case e.trouble != "":
		return "the store of tracks: " + e.trouble
	case e.dialling && e.awaits != "":
		return e.awaits
	case e.dialling && e.error == "" && time.Since(e.dialled) >= e.watch():
		return "no answer yet"
	case e.sender != nil && e.failures > 0 && e.rounds == 0 && e.up.After(e.failed):
		return "connected again, and nothing is acknowledged yet; before that: " + e.error
	case e.sender == nil || e.failures > 0 || e.rounds > 0:
		return e.error
	}
	return ""
}

func (e *engine) status() *uplinkv1.Status {
	m := &uplinkv1.Status{
		Time: timestamppb.Now(), State: e.state(), Why: e.why(), Far: e.far.Where, Backlog: backlogMessage(e.waiting(), e.peak), Rate: e.rate,
		Goodput: e.pace.Goodput, Slow: e.pace.Strain() >= far.Slow, Crawls: e.pace.Strain() == far.Crawl, CatchUp: e.catchUp(e.backlog), Error: e.error, Counts: proto.CloneOf(&e.counts), Spent: e.spentNow(),
		Begun: e.reader != nil && !e.measuredAt.IsZero(),
	}
	if e.sender != nil {
		m.Connected = timestamppb.New(e.up)
	}
	if !e.acked.IsZero() {
		m.Acknowledged = timestamppb.New(e.acked)
	}
	if !e.failed.IsZero() {
		m.Failed = timestamppb.New(e.failed)
	}
	return m
}

func backlogMessage(b record.Backlog, peak uint64) *uplinkv1.Backlog {
	m := &uplinkv1.Backlog{Records: b.Records, Bytes: b.Bytes, Peak: max(peak, b.Records)}
	if !b.Oldest.IsZero() && b.Records > 0 {
		m.Oldest = timestamppb.New(b.Oldest)
	}
	return m
}

// catchUp is about how long the backlog takes; nil: there is none, or that cannot be told, as while nothing can be sent.
func (e *engine) catchUp(b record.Backlog) *durationpb.Duration {
	if e.current() || e.ebb <= 0 || e.resting != "" || e.failures > 0 {
		return nil
	}
	return durationpb.New(time.Duration(min(float64(b.Records)/e.ebb, 1e9) * float64(time.Second)).Round(time.Second))
}
