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

// done handles the outcome of a batch.
func (e *engine) done(c *actors.Context, m sent) {
	e.sending = false
	e.count()
	var rejected *far.RejectedError
	var partial *far.PartialError
	switch {
	case e.lane.probing:
		e.probed(c, m.err)
		return
	case e.lane.searching:
		e.searchDone(c, m.err)
		return
	}
	if errors.As(m.err, &partial) && partial.Taken > 0 && partial.Taken <= len(e.batch) {
		e.partly(c, partial.Taken)
	}
	switch {
	case m.err == nil:
		e.delivered(c, m)
	case errors.As(m.err, &rejected):
		e.refused(c, rejected)
	default:
		e.undelivered(c, m.err)
	}
	e.release(c)
}

// release ends a batch.
func (e *engine) release(c *actors.Context) {
	e.batch = nil
	if m := e.held; m != nil {
		e.held = nil
		e.took(c, *m)
	}
}

// delivered handles a batch that was acknowledged.
func (e *engine) delivered(c *actors.Context, m sent) {
	n := len(e.batch)
	e.good = e.batch[n-1]
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	e.pace = e.pace.Sent(e.portions, n, e.bytes, m.took, true)
	e.acknowledged(c, n)
	l := e.lane
	e.counts.LeftOut += uint64(e.out)
	l.suspects = max(0, l.suspects-e.entries)
	if l.soleFailures > 0 || e.refusal != "" {
		e.noteAccepted()
	}
	l.soleFailures, l.proofs = 0, 0
	if l.batchLimit *= 2; l.batchLimit >= e.portions.Records {
		l.batchLimit = 0
	}
	e.settle(c, e.entries)
	l.since = time.Now()
}

// partly removes the first n records of a batch, which were acknowledged before the connection
// ended.
func (e *engine) partly(c *actors.Context, n int) {
	failures := e.failures
	e.good = e.batch[n-1]
	e.acknowledged(c, n)
	e.failures = failures
	taken := e.origin[n-1] + 1
	l := e.lane
	e.batch, l.soleFailures, l.proofs = e.batch[n:], 0, 0
	l.suspects = max(0, l.suspects-taken)
	e.settle(c, taken)
}

// acknowledged counts n records that the far end has acknowledged.
func (e *engine) acknowledged(c *actors.Context, n int) {
	now := time.Now()
	e.counts.Acknowledged += uint64(n)
	e.spend(now, 0, uint64(n))
	if e.lane == &e.main && e.throttled() {
		e.free = now.Add(time.Duration(float64(n) / float64(e.cfg.CatchUp) * float64(time.Second)))
	}
	e.acked, e.failures = now, 0
	if e.mute {
		e.mute = false
		c.Event("silent", &uplinkv1.Silent{Time: timestamppb.New(now), Over: true})
	}
	c.OK()
}

// refused handles a batch with records that the far end will never accept.
func (e *engine) refused(c *actors.Context, m *far.RejectedError) {
	e.wrong(m)
	l := e.lane
	l.soleFailures, l.proofs = 0, 0
	switch named := len(m.Records); {
	case named > 0 && m.Taken && named < len(e.batch):
		e.noteAccepted()
	case (named > 0 || len(e.batch) == 1) && !e.judgeRefusal(c, m):
		return
	}
	if len(m.Records) == 0 {
		if len(e.batch) == 1 {
			e.reject(c, e.origin[0], m.Why)
			e.lane.suspects, e.lane.batchLimit = 0, 1 // the next one may be bad too
			e.settleGone(c)
			return
		}
		e.lane.suspects = e.entries // try half of them next
		return
	}
	for _, r := range m.Records {
		if r.Index >= 0 && r.Index < len(e.origin) {
			e.reject(c, e.origin[r.Index], r.Why)
		}
	}
	e.lane.suspects = 0
	if m.Taken {
		e.acknowledged(c, len(e.batch)-len(m.Records))
		e.counts.LeftOut += uint64(e.out)
		e.settle(c, e.entries)
		return
	}
	e.settleGone(c)
}

// settleGone removes the skipped records at the front of the queue.
func (e *engine) settleGone(c *actors.Context) {
	n := 0
	e.lane.each(func(x *entry) bool {
		if x.gone {
			n++
		}
		return x.gone
	})
	e.settle(c, n)
}

// reject skips the record of the entry with that number.
func (e *engine) reject(c *actors.Context, number int, why string) {
	if x := e.lane.at(number); !x.gone {
		x.gone = true
		e.counts.Rejected++
		e.reportRejected(c, x.Record, why)
	}
}

// reportRejected publishes an event about a rejected record, at most one per second.
func (e *engine) reportRejected(c *actors.Context, r record.Record, why string) {
	now := time.Now()
	if now.Sub(e.complained) < time.Second {
		e.untold++
		return
	}
	c.Event("rejected", &uplinkv1.Rejected{Time: timestamppb.New(now), Record: fmt.Sprintf("%s %d", r.Track, r.Sequence), Why: why, More: e.untold})
	e.complained, e.untold = now, 0
}

// undelivered handles a batch whose outcome is unknown. All of it is sent again.
func (e *engine) undelivered(c *actors.Context, err error) {
	var later far.RetryAfterError
	switch {
	case errors.As(err, &later): // the far end has said when to retry
	case len(e.origin) == 1 && len(e.batch) == 1 && !errors.Is(err, context.DeadlineExceeded):
		l := e.lane
		l.soleFailures++
		l.accused, l.probing = e.origin[0], l.soleFailures%suspectAfter == 0 || l.soleFailures >= anyProbeAfter || l.proofs > 0
	}
	if e.broken(c, err); e.lane.probing {
		// Retry at once: a link that recovers in the meantime would falsify the comparison.
		e.tryAt = time.Time{}
	}
}

// broken closes the connection, if there is one, and schedules another attempt.
func (e *engine) broken(c *actors.Context, err error) {
	e.counts.Retries++
	e.pace = e.pace.Failed(e.bytes)
	if e.sender != nil {
		e.over(c, err)
	} else {
		e.fail(c, err)
	}
}
