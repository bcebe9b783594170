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

// tally holds the counters and measurements of an uplink.
type tally struct {
	counts     uplinkv1.Counts
	began      time.Time
	acked      time.Time // the last acknowledgement; zero: none yet
	owing      time.Time // until when nothing was waiting
	backlog    record.Backlog
	finished   uint64 // records completed before the backlog was measured
	peak       uint64 // largest backlog, in records, since it was last empty
	measuring  bool
	measuredAt time.Time
	rate       float64 // acknowledged records per second, smoothed
	gauged     time.Time
	before     uint64  // records completed then
	ebb        float64 // records per second by which the backlog shrinks, smoothed
	mute       bool    // the event silent has been published
	said       *uplinkv1.Status
	saidAt     time.Time

	complained time.Time
	untold     uint64
}

const (
	measureTime = 20 * time.Second
	// seldom is the longest interval between measurements of the backlog of an uplink that sends
	// nothing.
	seldom = 30 * time.Second
	// soon shortens that interval to this fraction of the time since the last acknowledgement,
	// because a young backlog grows quickly relative to its size.
	soon = 4
)

type measured struct {
	backlog  record.Backlog
	newest   [][]byte // newest chunk of each track
	finished uint64   // records completed before
	err      error
}

// measureRate measures the rate, and the backlog if that is due.
func (e *engine) measureRate(c *actors.Context) {
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
	// Measuring is cheap then, and new records show soon.
	away := e.sender == nil && e.backlog.Records == 0
	last := e.began
	if e.acked.After(last) {
		last = e.acked
	}
	if moved || away || e.main.records > 0 || now.Sub(e.measuredAt) >= min(seldom, now.Sub(last)/soon) {
		e.measure(c)
	}
}

// measure asks the store for what is not acknowledged.
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
		one, err := amount(b)
		if err != nil {
			continue // a damaged chunk is reported when it is read
		}
		all.Records += one.Records
		all.Bytes += one.Bytes
		if all.Oldest.IsZero() || !one.Oldest.IsZero() && one.Oldest.Before(all.Oldest) {
			all.Oldest = one.Oldest
		}
	}
	return all, newestOf(behind), err
}

// amount returns the backlog of one track without what was dropped behind the messages that the
// reader has.
func amount(b actors.TrackBacklog) (record.Backlog, error) {
	if b.Held.Seq == 0 || b.Next.Seq == 0 {
		return record.Measure(b.Oldest.Data, b.Newest.Data)
	}
	all, err := record.Measure(b.Oldest.Data, b.Held.Data)
	if err != nil {
		return all, err
	}
	rest, err := record.Measure(b.Next.Data, b.Newest.Data)
	all.Records += rest.Records
	all.Bytes += rest.Bytes
	return all, err
}

func (e *engine) measured(c *actors.Context, m measured) {
	now := time.Now()
	lasted := now.Sub(e.measuredAt).Seconds()
	e.measuring, e.measuredAt = false, now
	if m.err != nil {
		return
	}
	e.learn(m.newest)
	if e.trouble != "" && e.reading { // reading has resumed and the store answers
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

// owed returns the backlog without the records that the far end got ahead of the read position.
func (e *engine) owed(b record.Backlog) record.Backlog {
	b.Records -= min(b.Records, e.early)
	return b
}

// doneWith returns the number of completed records.
func (e *engine) doneWith() uint64 {
	return e.counts.Acknowledged + e.counts.LeftOut + e.counts.Rejected
}

// waiting estimates the present backlog from the last measurement and from what has been completed
// and read since.
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

// current reports whether the far end has everything but what is being recorded now.
func (e *engine) current() bool {
	return e.backlog.Records == 0 || e.sender != nil && !e.main.filled && e.from == 0 && !e.throttled()
}

// reportSilence publishes the event silent when nothing has been acknowledged for the configured time.
func (e *engine) reportSilence(c *actors.Context) {
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

// told handles the method Status.
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

// asked is a status whose backlog has been measured for the caller.
type asked struct {
	status  *uplinkv1.Status
	backlog record.Backlog
	newest  [][]byte
	err     error
}

// reply answers the method Status.
func (e *engine) reply(c *actors.Context, m asked) {
	e.learn(m.newest)
	if m.err == nil {
		b := e.owed(m.backlog)
		m.status.Backlog, m.status.CatchUp = backlogMessage(b, e.peak), e.catchUp(b)
	}
	c.Reply(&uplinkv1.StatusResponse{Status: m.status})
}

// tell publishes the status at once if its state, reason or address has changed, and otherwise at
// most once per watch interval.
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

// state returns the state in one word.
func (e *engine) state() string {
	switch {
	case e.resting != "":
		return "resting"
	case e.rounds > 0:
		return "refused"
	case e.sender != nil && e.idle():
		return "idle"
	case e.sender != nil && !e.current() && e.backlog.Records > uint64(e.throttledSize()):
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

// idle reports whether there has been nothing to do for a while. A record every few seconds is not
// worth a change of state each time.
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
		return "connected again, but nothing is acknowledged yet; earlier: " + e.error
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

// catchUp estimates how long the backlog will take; nil: there is none, or the time is unknown, for
// instance because nothing can be sent.
func (e *engine) catchUp(b record.Backlog) *durationpb.Duration {
	if e.current() || e.ebb <= 0 || e.resting != "" || e.failures > 0 {
		return nil
	}
	return durationpb.New(time.Duration(min(float64(b.Records)/e.ebb, 1e9) * float64(time.Second)).Round(time.Second))
}
