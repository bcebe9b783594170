package dispatch

import (
	"slices"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// Config describes the line or link of a Dispatcher.
type Config struct {
	// BatchSize is the maximum number of transactions in one Batch; default 1. A serial line uses
	// 1, so that each transaction is chosen from all those waiting.
	BatchSize int
	// InFlight is the maximum number of concurrent batches; default 1. With more than 1, each batch
	// holds one transaction.
	InFlight int
	// Quiet is the longest time for which a unit that did not answer gets no further request;
	// default 0.
	Quiet time.Duration
	// Air is the time that a request and its answer take on the wire; nil: negligible.
	Air func(r modbus.Request) time.Duration
	// Tap records the frames of the connections of this line or link; nil: they are not recorded.
	Tap *modbus.Tap
}

// Dispatcher holds the requests that wait for one line or link, decides which go next, and answers
// the askers. Its user calls Next, lets a worker call Run of the Batch, and returns the Batch with
// Done.
//
// Times are passed as arguments: durations since a fixed moment in the past, on the monotonic
// clock, never negative. A Dispatcher is not safe for concurrent use; it belongs to one actor.
type Dispatcher struct {
	config     Config
	queue      *schedule.Queue[*part]
	keyed      []*job   // not yet answered, and with a Key
	down       *Down    // nil: requests can be sent
	batches    []*Batch // under way
	unanswered int      // consecutive transactions, of all units, without an answer
	counts     Counts
	ledger     ledger

	tallies schedule.Units[Tally]
}

// Counts are the totals of all units since the Dispatcher was created.
type Counts struct {
	Answered, Exceptions, Timeouts, Corrupt, Mismatched uint64

	Shed uint64        // refused because too many were waiting
	Busy time.Duration // time for which the line or link was in use
}

// New returns a Dispatcher that is up and has nothing to do.
func New(config Config) *Dispatcher {
	config.BatchSize, config.InFlight = max(config.BatchSize, 1), max(config.InFlight, 1)
	return &Dispatcher{config: config, queue: newQueue(config), ledger: ledger{inFlight: config.InFlight}}
}

func newQueue(config Config) *schedule.Queue[*part] {
	unit := 1
	if config.BatchSize > 1 || config.InFlight > 1 {
		unit = 64 // BatchSize and InFlight are the tighter limits
	}
	return schedule.NewQueue[*part](schedule.QueueConfig{PerUnit: unit, Quiet: config.Quiet})
}

// SetAir replaces Config.Air.
func (d *Dispatcher) SetAir(air func(r modbus.Request) time.Duration) { d.config.Air = air }

// SetInFlight replaces Config.InFlight. The Dispatcher must have been created with a BatchSize or
// InFlight above 1.
func (d *Dispatcher) SetInFlight(inFlight int) {
	d.config.InFlight = max(inFlight, 1)
	d.ledger.inFlight = d.config.InFlight
}

// Submit queues the requests of ask. reply is called exactly once, when all of them have ended; if
// nothing can be sent, it is called before Submit returns.
func (d *Dispatcher) Submit(ask *Ask, now time.Duration, reply func(*Answer)) {
	d.SubmitIf(ask, now, nil, reply)
}

// SubmitIf is Submit with a last check: when the first request of ask is about to be sent, Next
// calls stands, and if that returns an error, nothing is sent. A caller that has given up, or has
// lost its permission meanwhile, thus writes nothing. nil: no check.
func (d *Dispatcher) SubmitIf(ask *Ask, now time.Duration, stands func() error, reply func(*Answer)) {
	j := jobOf(ask)
	j.answer.Tap, j.reply, j.stands, j.left = d.config.Tap, reply, stands, len(ask.Requests)
	if j.left == 0 {
		reply(&j.answer)
		return
	}
	if ask.Key != "" {
		d.replace(ask.Key, j)
	}
	if j.scan = d.ledger.asked(j, now); j.scan != nil {
		j.due = now + j.scan.group.Every
		if j.shed = d.ledger.over.Sheds(ask.Key); j.shed {
			j.due = j.scan.served
		}
	}
	if ask.Class <= schedule.Interactive {
		for _, b := range d.batches {
			b.hurry.Store(true)
		}
	}
	for i := range j.parts {
		d.push(&j.parts[i], now)
	}
}

// replace puts j in the place of the job with the same key. Requests of the old job that still wait
// are not sent.
func (d *Dispatcher) replace(key string, j *job) {
	i := slices.IndexFunc(d.keyed, func(o *job) bool { return o.answer.Ask.Key == key })
	if i < 0 {
		d.keyed = append(d.keyed, j)
		return
	}
	old := d.keyed[i]
	d.keyed[i] = j
	d.drop(func(p *part) bool { return p.job == old }, errReplaced)
}

// push queues a part, or ends it with an error if it cannot be sent.
func (d *Dispatcher) push(p *part, now time.Duration) {
	if d.down != nil {
		d.settle(p, failed(d.down))
		return
	}
	ask, r := p.ask(), p.request()
	item := schedule.Item[*part]{Unit: r.Unit, Class: ask.Class, Rest: ask.Rest, Payload: p}
	if ask.Class == schedule.Poll {
		item.Due = p.job.due
	}
	if p.job.shed { // a shed poll waits without a deadline
		item.Class = schedule.Shed
	} else if !ask.Expires.IsZero() {
		item.Deadline = max(now+time.Until(ask.Expires), 1)
	}
	if verdict, _ := d.queue.Push(item); verdict == schedule.Refused {
		d.counts.Shed++
		d.settle(p, failed(errFull))
	}
}

// Next returns the Batch to carry out now. If there is none, it returns how long to wait before the
// next call; 0 means until the next Submit, Done or Up.
func (d *Dispatcher) Next(now time.Duration) (*Batch, time.Duration) {
	if len(d.batches) >= d.config.InFlight || d.down != nil {
		return nil, 0
	}
	size := d.config.BatchSize
	if d.config.InFlight > 1 {
		size = 1
	}
	var b *Batch
	for {
		item, wait, ok := d.queue.Next(now)
		d.expire(now)
		if !ok {
			return d.begin(b), wait
		}
		p := item.Payload
		if err := p.job.canceled(); err != nil {
			d.queue.Done(item.Unit, now, schedule.NotSent)
			d.settle(p, failed(&unsent{err.Error(), err}))
			continue
		}
		if _, ok := p.job.timeout(); !ok {
			d.queue.Done(item.Unit, now, schedule.NotSent)
			d.settle(p, failed(errGivenUp))
			d.ledger.ended(p.job, now)
			continue
		}
		if b == nil {
			b = &Batch{air: d.config.Air}
		}
		b.parts = append(b.parts, p)
		if len(b.parts) == size || item.Class != schedule.Poll || item.Rest > 0 {
			return d.begin(b), 0
		}
	}
}

// Expire answers requests that have waited beyond Ask.Expires, and returns the time until it should
// be called again for callers that wait; 0: no caller waits. Next does the same, but is not called
// while nothing can be sent.
func (d *Dispatcher) Expire(now time.Duration) time.Duration {
	d.expire(now)
	if at := d.queue.Hurry(); at > 0 {
		return max(at-now, 1)
	}
	return 0
}

func (d *Dispatcher) expire(now time.Duration) {
	for _, late := range d.queue.Expired(now) {
		d.settle(late.Payload, failed(errExpired))
	}
}

func (d *Dispatcher) begin(b *Batch) *Batch {
	if b != nil {
		d.batches = append(d.batches, b)
	}
	return b
}

// Done takes back a Batch of Next after its Run: requests that have ended are answered, those not
// sent are queued again.
func (d *Dispatcher) Done(b *Batch, now time.Duration) {
	d.batches = slices.DeleteFunc(d.batches, func(o *Batch) bool { return o == b })
	d.counts.Busy += b.busy / time.Duration(d.config.InFlight)
	for i, p := range b.parts {
		unit := p.request().Unit
		if i < b.ran && !p.notFound() {
			d.tally(unit).attempt(p.res, p.busy/time.Duration(d.config.InFlight))
		}
		if i >= b.ran || d.retry(p, b) {
			d.queue.Done(unit, now, schedule.NotSent)
			d.push(p, now)
			continue
		}
		d.count(p)
		d.queue.Done(unit, now, p.res.Outcome)
		d.settle(p, *p.res)
		d.ledger.carried(p, now)
	}
	d.ledger.judge(now)
}

// retry reports whether a transaction that ended with its connection is tried again. It is if
// nothing of it was sent, or if it only reads; but only once, and not if its own answer made the
// connection unusable, because that would happen again.
func (d *Dispatcher) retry(p *part, b *Batch) bool {
	if b.Lost == nil || p.res.Err != b.Lost || p.tries > 0 || b.Spoilt() || p.request().Write() && !modbus.NotSent(b.Lost) {
		return false
	}
	p.tries++
	if p.res.Outcome != schedule.NotSent {
		p.job.silent.Add(-1) // it was the connection that was silent
		if !p.ask().Search {
			d.tally(p.request().Unit).Retries++
		}
	}
	return true
}

// count adds the outcome of a transaction to the totals.
func (d *Dispatcher) count(p *part) {
	if p.notFound() {
		return
	}
	d.unanswered++
	switch p.res.Outcome {
	case schedule.Answered:
		d.counts.Answered++
		d.unanswered = 0
	case schedule.Exception:
		d.counts.Exceptions++
		d.unanswered = 0
	case schedule.NoAnswer:
		d.counts.Timeouts++
	case schedule.Garbled:
		if mismatched(p.res.Err) {
			d.counts.Mismatched++
		} else {
			d.counts.Corrupt++
		}
	case schedule.NotSent:
		d.unanswered--
	}
}

// settle ends a part with r, and answers the Ask with its last part.
func (d *Dispatcher) settle(p *part, r Result) {
	j := p.job
	if r.At.IsZero() {
		r.At = time.Now()
	}
	*p.res = r
	if j.left--; j.left > 0 {
		return
	}
	if i := slices.Index(d.keyed, j); i >= 0 {
		d.keyed = slices.Delete(d.keyed, i, i+1)
	}
	if j.scan != nil && j.scan.job == j {
		j.scan.job = nil
	}
	if d.ledger.over.Sheds(j.answer.Ask.Key) {
		j.answer.Shed = d.ledger.cause
	}
	j.reply(&j.answer)
}

// failed returns the Result of a request that was not sent.
func failed(err error) Result { return Result{Err: err, Outcome: schedule.NotSent} }

// drop ends the waiting parts that match, with the error why.
func (d *Dispatcher) drop(match func(*part) bool, why error) {
	for _, item := range d.queue.Drop(func(i schedule.Item[*part]) bool { return match(i.Payload) }) {
		d.settle(item.Payload, failed(why))
	}
}

// Down says that nothing can be sent until Up: all waiting requests are answered with cause now,
// and new ones as soon as they are submitted.
func (d *Dispatcher) Down(cause string) {
	d.down = &Down{cause}
	d.drop(func(*part) bool { return true }, d.down)
}

// Up ends Down.
func (d *Dispatcher) Up() { d.down, d.unanswered = nil, 0 }

// Cause returns why nothing can be sent, as passed to Down, or "" if requests can be sent.
func (d *Dispatcher) Cause() string {
	if d.down == nil {
		return ""
	}
	return d.down.Cause
}

// Busy reports whether a Batch is under way.
func (d *Dispatcher) Busy() bool { return len(d.batches) > 0 }

// Unanswered returns the number of consecutive transactions, of all units, without a valid answer.
// Up resets it to 0.
func (d *Dispatcher) Unanswered() int { return d.unanswered }

// Counts returns the totals so far.
func (d *Dispatcher) Counts() Counts { return d.counts }
