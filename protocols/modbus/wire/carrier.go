package wire

import (
	"slices"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// Config says what a Carrier carries for.
type Config struct {
	Batch int // transactions that one Work may hold; 1 on a line, where each is elected anew
	// InFlight is how many Works may be under way at a time; default 1. If more, each holds one transaction.
	InFlight int
	Quiet    time.Duration // the longest that a unit that gave no answer is left alone
	// Air is the time that a request and its answer take on the wire; nil: none.
	Air func(r modbus.Request) time.Duration
	// Tap is that of the links that carry; nil: none.
	Tap *modbus.Tap
}

// Carrier is the desk of a line or link: it takes what units ask, elects what
// goes next and tells the askers. As many Works as it is told to are under way
// at a time. The time is an argument, monotonic and never negative. It belongs to
// one actor.
type Carrier struct {
	config Config
	queue  *schedule.Queue[*part]
	keyed  []*job // that wait, or are under way, and can be replaced
	down   *Down
	works  []*Work // under way
	mute   int     // transactions without an answer in a row, of all units
	counts Counts
	ledger ledger

	tallies schedule.Units[Tally]
}

// Counts are what a Carrier has seen.
type Counts struct {
	Answered, Exceptions, Timeouts, Corrupt, Mismatched, Shed uint64
	Busy                                                      time.Duration
}

// job is an Ask on its way, part one of its requests.
type job struct {
	answer Answer
	parts  []part
	load   *budget.Unit // the Ask's: the asker may have it back while it is still looked at here
	reply  func(*Answer)
	stands func() error  // see TakeFor
	void   error         // what it has said
	left   int           // requests without a result
	scan   *scan         // of a poll with a rhythm
	shed   bool          // it is read when there is time
	due    time.Duration // in which order polls go
	took   time.Duration // of the requests that were answered
	failed bool          // one was not
	silent atomic.Int32  // unanswered in a row, as the workers see it
}

type part struct {
	job   *job
	index int
	tries int
	res   *Result       // in the answer, which nobody has before all parts are settled
	busy  time.Duration // how long it kept the link
}

func (p *part) ask() *Ask               { return p.job.answer.Ask }
func (p *part) request() modbus.Request { return p.ask().Requests[p.index] }

// timeout of the next request; ok is false when the patience is spent.
func (j *job) timeout() (d time.Duration, ok bool) {
	t := j.answer.Ask.Timeouts
	if len(t) == 0 {
		return 0, true
	}
	if n := int(j.silent.Load()); n < len(t) {
		return t[n], true
	}
	return 0, false
}

// fallen says why nothing of j is to be sent any more.
func (j *job) fallen() error {
	if j.stands != nil && j.void == nil {
		j.void = j.stands()
		if j.void == nil {
			j.stands = nil // it begins
		}
	}
	return j.void
}

// NewCarrier returns one that is up and has nothing to do.
func NewCarrier(config Config) *Carrier {
	config.Batch, config.InFlight = max(config.Batch, 1), max(config.InFlight, 1)
	return &Carrier{config: config, queue: newQueue(config), ledger: ledger{inFlight: config.InFlight}}
}

func newQueue(config Config) *schedule.Queue[*part] {
	unit := 1
	if config.Batch > 1 || config.InFlight > 1 {
		unit = 64 // Elect has smaller bounds
	}
	return schedule.NewQueue[*part](schedule.QueueConfig{PerUnit: unit, Quiet: config.Quiet})
}

// Configure changes the time that requests take on the wire.
func (c *Carrier) Configure(air func(r modbus.Request) time.Duration) { c.config.Air = air }

// Widen changes how many Works may be under way, of a Carrier that has Batch.
func (c *Carrier) Widen(inFlight int) {
	c.config.InFlight = max(inFlight, 1)
	c.ledger.inFlight = c.config.InFlight
}

// Take queues what ask wants. reply is called once, in this call if nothing can
// be sent.
func (c *Carrier) Take(ask *Ask, now time.Duration, reply func(*Answer)) {
	c.TakeFor(ask, now, nil, reply)
}

// TakeFor is Take for somebody who may not want it any more when its turn comes, or may not have it: if stands has an error then, before
// anything of it was sent, nothing is. It is asked in a call of Elect.
func (c *Carrier) TakeFor(ask *Ask, now time.Duration, stands func() error, reply func(*Answer)) {
	j := jobOf(ask)
	j.answer.Tap, j.reply, j.stands, j.left = c.config.Tap, reply, stands, len(ask.Requests)
	if j.left == 0 {
		reply(&j.answer)
		return
	}
	if ask.Key != "" {
		c.replace(ask.Key, j)
	}
	if j.scan = c.ledger.asked(j, now); j.scan != nil {
		j.due = now + j.scan.group.Every
		if j.shed = c.ledger.over.Sheds(ask.Key); j.shed {
			j.due = j.scan.served
		}
	}
	if ask.Class <= schedule.Interactive {
		for _, w := range c.works {
			w.hurry.Store(true)
		}
	}
	for i := range j.parts {
		c.push(&j.parts[i], now)
	}
}

// jobOf is that of an Ask, in the place of the one it was before, if it was one.
func jobOf(ask *Ask) *job {
	j, n := ask.job, len(ask.Requests)
	if j == nil || cap(j.parts) < n {
		j = &job{parts: make([]part, n), answer: Answer{Results: make([]Result, n)}}
		ask.job = j
	}
	parts, results := j.parts[:n], j.answer.Results[:n]
	*j = job{parts: parts, answer: Answer{Ask: ask, Results: results}, load: ask.Load}
	for i := range parts {
		parts[i], results[i] = part{job: j, index: i, res: &results[i]}, Result{}
	}
	return j
}

func (c *Carrier) replace(key string, j *job) {
	i := slices.IndexFunc(c.keyed, func(o *job) bool { return o.answer.Ask.Key == key })
	if i < 0 {
		c.keyed = append(c.keyed, j)
		return
	}
	old := c.keyed[i]
	c.keyed[i] = j
	c.drop(func(p *part) bool { return p.job == old }, errReplaced)
}

// push queues a part, or settles it when it cannot be.
func (c *Carrier) push(p *part, now time.Duration) {
	if c.down != nil {
		c.settle(p, failed(c.down))
		return
	}
	ask, r := p.ask(), p.request()
	item := schedule.Item[*part]{Unit: r.Unit, Class: ask.Class, Rest: ask.Rest, Payload: p}
	if ask.Class == schedule.Poll {
		item.Due = p.job.due
	}
	if p.job.shed { // it waits for as long as it takes
		item.Class = schedule.Shed
	} else if !ask.Expires.IsZero() {
		item.Deadline = max(now+time.Until(ask.Expires), 1)
	}
	if verdict, _ := c.queue.Push(item); verdict == schedule.Refused {
		c.counts.Shed++
		c.settle(p, failed(errFull))
	}
}

// Elect gives the next Work, or how long until it should be asked for again; 0
// is until something else happens.
func (c *Carrier) Elect(now time.Duration) (*Work, time.Duration) {
	if len(c.works) >= c.config.InFlight || c.down != nil {
		return nil, 0
	}
	batch := c.config.Batch
	if c.config.InFlight > 1 {
		batch = 1
	}
	var w *Work
	for {
		item, wait, ok := c.queue.Next(now)
		c.expire(now)
		if !ok {
			return c.begin(w), wait
		}
		p := item.Payload
		if err := p.job.fallen(); err != nil {
			c.queue.Done(item.Unit, now, schedule.NotSent)
			c.settle(p, failed(&unsent{err.Error(), err}))
			continue
		}
		if _, ok := p.job.timeout(); !ok {
			c.queue.Done(item.Unit, now, schedule.NotSent)
			c.settle(p, failed(errGivenUp))
			c.ledger.ended(p.job, now)
			continue
		}
		if w == nil {
			w = &Work{air: c.config.Air}
		}
		w.parts = append(w.parts, p)
		if len(w.parts) == batch || item.Class != schedule.Poll || item.Rest > 0 {
			return c.begin(w), 0
		}
	}
}

// Expire tells the askers of what has waited for too long, also while nothing can
// be sent, and gives the time until it should be called again for the sake of those
// who wait for an answer; 0: none waits.
func (c *Carrier) Expire(now time.Duration) time.Duration {
	c.expire(now)
	if at := c.queue.Hurry(); at > 0 {
		return max(at-now, 1)
	}
	return 0
}

func (c *Carrier) expire(now time.Duration) {
	for _, late := range c.queue.Expired(now) {
		c.settle(late.Payload, failed(errExpired))
	}
}

func (c *Carrier) begin(w *Work) *Work {
	if w != nil {
		c.works = append(c.works, w)
	}
	return w
}

// Done takes back the Work that Elect gave, after Run.
func (c *Carrier) Done(w *Work, now time.Duration) {
	c.works = slices.DeleteFunc(c.works, func(o *Work) bool { return o == w })
	c.counts.Busy += w.busy / time.Duration(c.config.InFlight)
	for i, p := range w.parts {
		unit := p.request().Unit
		if i < w.ran && !p.void() {
			c.tally(unit).attempt(p.res, p.busy/time.Duration(c.config.InFlight))
		}
		if i >= w.ran || c.again(p, w) {
			c.queue.Done(unit, now, schedule.NotSent)
			c.push(p, now)
			continue
		}
		c.count(p)
		c.queue.Done(unit, now, p.res.Outcome)
		c.settle(p, *p.res)
		c.ledger.carried(p, now)
	}
	c.ledger.judge(now)
}

// again says whether a transaction that a lost connection has ended may be
// tried once more: when nothing went out, or when doing it twice does no harm.
// One whose answer has spoilt the connection would spoil the next one too.
func (c *Carrier) again(p *part, w *Work) bool {
	if w.Lost == nil || p.res.Err != w.Lost || p.tries > 0 || w.Spoilt() || p.request().Write() && !modbus.NotSent(w.Lost) {
		return false
	}
	p.tries++
	if p.res.Outcome != schedule.NotSent {
		p.job.silent.Add(-1) // it was the connection that was silent
		if !p.ask().Search {
			c.tally(p.request().Unit).Retries++
		}
	}
	return true
}

// void says whether a transaction has found nobody who was searched for.
func (p *part) void() bool {
	return p.ask().Search && p.res.Outcome != schedule.Answered && p.res.Outcome != schedule.Exception
}

func (c *Carrier) count(p *part) {
	if p.void() {
		return
	}
	c.mute++
	switch p.res.Outcome {
	case schedule.Answered:
		c.counts.Answered++
		c.mute = 0
	case schedule.Exception:
		c.counts.Exceptions++
		c.mute = 0
	case schedule.NoAnswer:
		c.counts.Timeouts++
	case schedule.Garbled:
		if mismatched(p.res.Err) {
			c.counts.Mismatched++
		} else {
			c.counts.Corrupt++
		}
	case schedule.NotSent:
		c.mute--
	}
}

func (c *Carrier) settle(p *part, r Result) {
	j := p.job
	if r.At.IsZero() {
		r.At = time.Now()
	}
	*p.res = r
	if j.left--; j.left > 0 {
		return
	}
	if i := slices.Index(c.keyed, j); i >= 0 {
		c.keyed = slices.Delete(c.keyed, i, i+1)
	}
	if j.scan != nil && j.scan.job == j {
		j.scan.job = nil
	}
	if c.ledger.over.Sheds(j.answer.Ask.Key) {
		j.answer.Shed = c.ledger.cause
	}
	j.reply(&j.answer)
}

func failed(err error) Result { return Result{Err: err, Outcome: schedule.NotSent} }

func (c *Carrier) drop(match func(*part) bool, why error) {
	for _, item := range c.queue.Drop(func(i schedule.Item[*part]) bool { return match(i.Payload) }) {
		c.settle(item.Payload, failed(why))
	}
}

// Down says that nothing can be sent until Up: all that waits, and all that
// comes, is answered at once with cause.
func (c *Carrier) Down(cause string) {
	c.down = &Down{cause}
	c.drop(func(*part) bool { return true }, c.down)
}

// Up ends Down.
func (c *Carrier) Up() { c.down, c.mute = nil, 0 }

// Cause is why it is down; empty: it is not.
func (c *Carrier) Cause() string {
	if c.down == nil {
		return ""
	}
	return c.down.Cause
}

// Busy says whether a Work is under way.
func (c *Carrier) Busy() bool { return len(c.works) > 0 }

// Mute is how many transactions of all units in a row have had no answer.
func (c *Carrier) Mute() int { return c.mute }

// Counts are what it has seen since it was made.
func (c *Carrier) Counts() Counts { return c.counts }
