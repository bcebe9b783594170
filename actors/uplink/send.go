package uplink

import (
	"context"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// load is the batch under way to the far end.
type load struct {
	sending bool
	entries int             // queue entries that the batch covers, including those left out
	out     int             // of these, how many no rule selects
	batch   []record.Record // the records that are sent
	origin  []int           // for each record of batch, the number of its entry
	bytes   int
	lane    *lane     // the queue it was taken from
	tried   time.Time // when a batch last carried more than a slow link should get
	free    time.Time // earliest time of the next batch of the backlog, while it is throttled
	pace    far.Pace
	good    record.Record // the newest acknowledged record
	refusalSearch
}

// tryEvery is how often a slow link gets a batch with more in it.
const tryEvery = time.Minute

type (
	sent struct {
		err  error
		took time.Duration
	}
	flush struct{}
)

// send sends the next batch that is due.
func (e *engine) send(c *actors.Context) {
	now := time.Now()
	if e.sending || e.sender == nil || e.stale || e.resting != "" {
		return
	}
	if e.limited() && e.noting && e.spent.Hefty(e.limits, e.written) {
		return // wait until the spending is on disk, or a power cut would grant it again
	}
	for _, l := range [...]*lane{&e.fresh, &e.main} {
		for e.lane = l; l.records > 0 && e.due(c, now); {
			if !e.choose(now) {
				if l == &e.main {
					e.scout(c)
					return
				}
				break
			}
			if len(e.batch) > 0 {
				e.dispatch(c)
				return
			}
			e.counts.LeftOut += uint64(e.out) // no rule selects any of it
			e.settle(c, e.entries)
		}
	}
}

// choose makes the next batch, which may be empty. It returns false if nothing that has been read
// is suitable.
func (e *engine) choose(now time.Time) bool {
	l := e.lane
	if l.probing {
		if e.probe() {
			return true
		}
		if l.soleFailures >= anyProbeAfter {
			return false
		}
	}
	if l.searching {
		if l.probing = !e.searchBatch() && e.good.Sequence > 0; l.probing {
			e.probe()
		}
		return len(e.batch) > 0
	}
	e.pick(now)
	return true
}

// due reports whether a batch should be sent now. If not, it sets a timer for the next check.
func (e *engine) due(c *actors.Context, now time.Time) bool {
	l := e.lane
	if l == &e.main && e.free.After(now) {
		c.After(e.free.Sub(now), again{})
		return false
	}
	records, bytes := e.pace.Batch(e.portions)
	if l.records >= records || l.queue.bytes >= bytes || l.filled || l.suspects > 0 || l.searching || e.failures > 0 || l == &e.main && e.throttled() {
		return true
	}
	at := l.since.Add(e.pace.Flush(e.portions))
	if !at.After(now) {
		return true
	}
	if !l.flushing.After(now) || l.flushing.After(at) {
		l.flushing = at
		c.After(at.Sub(now), flush{})
	}
	return false
}

// pick makes the next batch.
func (e *engine) pick(now time.Time) {
	records, bytes := e.pace.Batch(e.portions)
	budget, quota, _ := e.spent.Room(e.limits, now)
	records, bytes = int(min(uint64(records), quota)), int(min(uint64(bytes), budget))
	l, strain := e.lane, e.strain(now)
	if l == &e.main && e.throttled() {
		records = min(records, e.throttledSize())
	}
	if l.suspects > 0 {
		records = min(records, max(1, l.suspects/2))
	}
	if l.batchLimit > 0 {
		records = min(records, l.batchLimit)
	}
	e.entries, e.out, e.bytes = 0, 0, 0
	// A new slice: an abandoned worker that is still sending the last batch keeps the old one.
	room := min(records, l.records)
	e.batch, e.origin = make([]record.Record, 0, room), make([]int, 0, room)
	l.each(func(x *entry) bool {
		if x.gone {
			e.entries++
			return true
		}
		if l.suspects > 0 && e.entries >= l.suspects {
			return false
		}
		l.follow.Correct(&x.Record)
		r, ok := e.table.Route(x.Record, strain)
		if ok && (len(e.batch) >= records || len(e.batch) > 0 && e.bytes+x.size > bytes) {
			return false
		}
		if ok {
			e.batch, e.origin = append(e.batch, r), append(e.origin, e.entries)
			e.bytes += x.size
		} else {
			e.out++
		}
		e.entries++
		return true
	})
}

// burstSeconds is how many seconds' worth of the catch-up rate a batch may hold.
const burstSeconds = 5

// throttledSize returns how many records a batch may have while the backlog is throttled.
func (e *engine) throttledSize() int {
	if rate := e.cfg.CatchUp; rate > 0 {
		return min(e.portions.Records, burstSeconds*int(rate))
	}
	return e.portions.Records
}

// throttled reports whether the oldest waiting record belongs to a backlog that is sent at the
// catch-up rate: more is stored than was read, or the record is older than the connection.
func (e *engine) throttled() bool {
	if e.cfg.CatchUp == 0 {
		return false
	}
	return e.main.filled || len(e.main.chunks) > 0 && e.main.chunks[0].stored.Before(e.up)
}

// strain returns how much the link is overloaded, for the next batch. Every tryEvery a batch
// carries a little more than that allows. Otherwise a link on which nothing is left to send would
// never be found to have recovered.
func (e *engine) strain(now time.Time) far.Strain {
	s := e.pace.Strain()
	if s > far.Free && now.Sub(e.tried) >= tryEvery {
		e.tried = now
		s--
	}
	return s
}

func (e *engine) dispatch(c *actors.Context) {
	e.sending = true
	sender, batch, limit := e.sender, e.batch, e.cfg.Timeout.AsDuration()
	c.Do(limit+5*time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		began := time.Now()
		err := sender.Send(ctx, batch)
		return sent{err, time.Since(began)}, nil
	})
}
