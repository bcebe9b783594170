package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// load is what is under way to the far end.
type load struct {
	sending bool
	entries int             // of the queue that the batch is made of, those that are left out as well
	out     int             // of these, how many no rule picks
	batch   []record.Record // what is sent of them
	origin  []int           // for each of the batch, the number of its entry
	bytes   int
	free    time.Time // when the next batch may go, while catching up slowly
	pace    far.Pace

	// suspects is how many entries from the oldest on have one among them that the far end refuses without saying which.
	suspects int
	// lone is how often in a row a batch of one and the same record has ended the connection; skip passes it over for
	// one batch, to see whether it is to blame.
	lone    int
	skip    int
	density float64 // records per message of the store
}

// stubborn is how often a single record may end the connection before it is seen whether another does as well.
const stubborn = 6

type (
	sent struct {
		err  error
		took time.Duration
	}
	flush struct{}
)

// send sends a batch when there is one, and it is due.
func (e *engine) send(c *actors.Context) {
	now := time.Now()
	if e.sending || e.sender == nil || e.stale || e.resting != "" {
		return
	}
	for e.queue.records > 0 && e.due(c, now) {
		e.pick(now)
		if len(e.batch) == 0 { // nothing of it is for this far end
			e.counts.LeftOut += uint64(e.out)
			e.settle(c, e.entries)
			continue
		}
		e.dispatch(c)
		return
	}
}

// due says whether a batch should go now, and else sees to it that it is looked at again in time.
func (e *engine) due(c *actors.Context, now time.Time) bool {
	if e.free.After(now) {
		c.After(e.free.Sub(now), again{})
		return false
	}
	records, bytes := e.pace.Batch(e.portions)
	if e.queue.records >= records || e.queue.bytes >= bytes || e.filled || e.suspects > 0 || e.failures > 0 {
		return true
	}
	at := e.since.Add(e.pace.Flush(e.portions))
	if !at.After(now) {
		return true
	}
	if !e.flushing.After(now) || e.flushing.After(at) {
		e.flushing = at
		c.After(at.Sub(now), flush{})
	}
	return false
}

// pick makes the next batch.
func (e *engine) pick(now time.Time) {
	records, bytes := e.pace.Batch(e.portions)
	room, quota, _ := e.spent.Room(e.limits, now)
	records, bytes = int(min(uint64(records), quota)), int(min(uint64(bytes), room))
	if e.suspects > 0 {
		records = min(records, max(1, e.suspects/2))
	}
	e.entries, e.out, e.bytes, e.batch, e.origin = 0, 0, 0, nil, nil
	e.queue.each(func(x *entry) bool {
		if x.gone || e.entries < e.skip {
			e.entries++
			return true
		}
		if e.suspects > 0 && e.entries >= e.suspects {
			return false
		}
		r, ok := e.table.Route(x.Record, e.pace.Slow())
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

// done takes in what has become of a batch.
func (e *engine) done(c *actors.Context, m sent) {
	e.sending = false
	e.count()
	var rejected *far.Rejected
	var partial *far.Partial
	if errors.As(m.err, &partial) && partial.Taken > 0 && partial.Taken <= len(e.batch) {
		e.partly(c, partial.Taken)
	}
	switch {
	case m.err == nil:
		e.delivered(c, m)
	case errors.As(m.err, &rejected):
		e.lone, e.skip = 0, 0
		e.refused(c, rejected)
	default:
		e.undelivered(c, m.err)
	}
	e.batch = nil
}

// delivered is a batch that was acknowledged.
func (e *engine) delivered(c *actors.Context, m sent) {
	n := len(e.batch)
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	e.pace = e.pace.Sent(e.portions, n, e.bytes, m.took, true)
	e.acknowledged(c, n)
	if e.skip > 0 { // the one that was passed over is to blame, for the next one has gone through
		e.reject(c, e.skip-1, "the connection ended each time when it was sent, at last: "+e.error)
	}
	e.counts.LeftOut += uint64(e.out)
	e.suspects = max(0, e.suspects-e.entries)
	e.lone, e.skip = 0, 0
	e.settle(c, e.entries)
	e.since = time.Now()
	if rate := e.cfg.CatchUp; rate > 0 && e.filled {
		e.free = time.Now().Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	}
}

// partly takes off what of a batch was acknowledged before its connection ended.
func (e *engine) partly(c *actors.Context, n int) {
	failures := e.failures
	e.acknowledged(c, n)
	e.failures = failures
	taken := e.origin[n-1] + 1
	e.batch, e.lone, e.skip = e.batch[n:], 0, 0
	e.suspects = max(0, e.suspects-taken)
	e.settle(c, taken)
}

// acknowledged counts records that the far end has.
func (e *engine) acknowledged(c *actors.Context, n int) {
	now := time.Now()
	e.counts.Acknowledged += uint64(n)
	e.spend(now, 0, uint64(n))
	e.acked, e.failures = now, 0
	if e.mute {
		e.mute = false
		c.Event("silent", &uplinkv1.Silent{Time: timestamppb.New(now), Over: true})
	}
	c.OK()
}

// refused is a batch with records that the far end will never take.
func (e *engine) refused(c *actors.Context, m *far.Rejected) {
	e.wrong(m)
	if len(m.Records) == 0 {
		if len(e.batch) == 1 {
			e.reject(c, e.origin[0], m.Why)
			e.suspects = 0
			e.settleGone(c)
			return
		}
		e.suspects = e.entries // half of them next
		return
	}
	for _, r := range m.Records {
		if r.Index >= 0 && r.Index < len(e.origin) {
			e.reject(c, e.origin[r.Index], r.Why)
		}
	}
	e.suspects = 0
	if m.Taken {
		e.acknowledged(c, len(e.batch)-len(m.Records))
		e.counts.LeftOut += uint64(e.out)
		e.settle(c, e.entries)
		return
	}
	e.settleGone(c)
}

// settleGone takes off what is passed over at the front of the queue.
func (e *engine) settleGone(c *actors.Context) {
	n := 0
	e.queue.each(func(x *entry) bool {
		if x.gone {
			n++
		}
		return x.gone
	})
	e.settle(c, n)
}

// reject passes over the record of that entry.
func (e *engine) reject(c *actors.Context, number int, why string) {
	i := 0
	e.queue.each(func(x *entry) bool {
		if i == number && !x.gone {
			x.gone = true
			e.counts.Rejected++
			e.complain(c, x.Record, why)
		}
		i++
		return i <= number
	})
}

// complain tells of a rejected record, not of each if there are many.
func (e *engine) complain(c *actors.Context, r record.Record, why string) {
	now := time.Now()
	if now.Sub(e.complained) < time.Second {
		e.untold++
		return
	}
	c.Event("rejected", &uplinkv1.Rejected{Time: timestamppb.New(now), Record: fmt.Sprintf("%s %d", r.Track, r.Sequence), Why: why, More: e.untold})
	e.complained, e.untold = now, 0
}

// undelivered is a batch of which nothing is known. All of it is sent again.
func (e *engine) undelivered(c *actors.Context, err error) {
	e.counts.Retries++
	e.pace = e.pace.Failed()
	var later far.Later
	switch {
	case errors.As(err, &later): // it has said what it wants
	case e.skip > 0: // another one fares no better: it is not the record
		e.lone, e.skip = 0, 0
	case len(e.batch) == 1 && !errors.Is(err, context.DeadlineExceeded):
		e.lone++
		if e.lone >= stubborn && e.queue.records > e.entries {
			e.skip = e.entries
		}
	}
	if e.sender != nil {
		e.over(c, err)
	} else {
		e.fail(c, err)
	}
}
