package uplink

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// account is what has been spent of the budget.
type account struct {
	spent   far.Spent
	known   bool // what was spent in earlier lives
	changed bool // since it was last written down
	written far.Spent
	writing bool

	writtenAt time.Time
	meter     traffic // of this connection, as last seen
}

type traffic struct{ sent, received uint64 }

const (
	noteTime = 20 * time.Second
	ledger   = "spent"
)

type (
	recalled struct {
		spent *uplinkv1.Spent
		ahead *uplinkv1.Ahead
		err   error
	}
	noted    struct{ err error }
	remember struct{}
)

// recall reads what was spent in earlier lives, and what was sent ahead. Until that is known nothing is sent. What was spent is of interest without a
// limit as well: a reload may set one.
func (e *engine) recall(c *actors.Context) {
	book := c.Notebook()
	c.Do(noteTime, func(ctx context.Context) (any, error) {
		m := recalled{spent: &uplinkv1.Spent{}, ahead: &uplinkv1.Ahead{}}
		_, m.err = book.Read(ctx, place, m.ahead)
		_, err := book.Read(ctx, ledger, m.spent)
		m.err = errors.Join(m.err, err)
		return m, nil
	})
}

func (e *engine) limited() bool { return e.limits != (far.Limits{Billing: e.limits.Billing}) }

func (e *engine) recalled(c *actors.Context, m recalled) {
	if m.err != nil {
		code, _ := actors.Explain(m.err)
		if needed := e.limited() || e.cfg.CatchUpOrder == freshFirst; needed && (code == actors.Unavailable || code == actors.DeadlineExceeded) {
			e.error = "what was sent before is not known: " + m.err.Error() // until the store works
			c.Degraded(e.error)
			c.After(pause, remember{})
			return
		}
		c.Log().Warn("what was spent and sent before is not known", "err", m.err)
	}
	e.known = true
	e.recallAhead(m.ahead)
	s, before := m.spent, e.spent
	if s.GetHour() == nil {
		return
	}
	e.spent = far.Spent{
		Hour: s.Hour.AsTime(), Month: s.Month.AsTime(), HourBytes: s.HourBytes, HourRecords: s.HourRecords, MonthBytes: s.MonthBytes, MonthRecords: s.MonthRecords,
	}
	e.written = e.spent
	e.spend(time.Now(), before.MonthBytes, before.MonthRecords)
}

func (e *engine) spend(now time.Time, bytes, records uint64) {
	e.spent = e.spent.Add(e.limits, now, bytes, records)
	e.changed = true
}

// count takes over what the connection has counted.
func (e *engine) count() {
	m, ok := e.sender.(far.Metered)
	if !ok {
		return
	}
	var t traffic
	t.sent, t.received = m.Traffic()
	up, down := t.sent-e.meter.sent, t.received-e.meter.received
	if up+down == 0 {
		return
	}
	e.meter = t
	e.counts.SentBytes += up
	e.counts.ReceivedBytes += down
	e.spend(time.Now(), up+down, 0)
}

// noteRarely is how often what is not limited is written down.
const noteRarely = 10 * time.Minute

// due says whether what was spent is to be written down: without a limit, at which it would be missed, only when it is much or long ago.
func (a *account) due(limited bool, now time.Time) bool {
	much := func(spent, written uint64) bool { return spent > written && spent/2 >= written }
	return a.changed && (limited || now.Sub(a.writtenAt) >= noteRarely ||
		much(a.spent.MonthBytes, a.written.MonthBytes) || much(a.spent.MonthRecords, a.written.MonthRecords))
}

// note writes down what was spent.
func (e *engine) note(c *actors.Context) {
	if e.sender != nil {
		e.count()
	}
	if e.writing || !e.known {
		return
	}
	book, all := c.Notebook(), map[string]proto.Message{}
	if now := time.Now(); e.account.due(e.limited(), now) {
		e.changed, e.written, e.writtenAt, all[ledger] = false, e.spent, now, e.spentNow()
	}
	if e.moved && e.reads != nil {
		e.moved, all[place] = false, e.aheadNow()
	}
	if len(all) == 0 {
		return
	}
	e.writing = true
	c.Do(noteTime, func(ctx context.Context) (any, error) {
		var m noted
		for leaf, what := range all {
			m.err = errors.Join(m.err, book.Write(ctx, leaf, what))
		}
		return m, nil
	})
}

func (e *engine) noted(m noted) {
	e.writing = false
	if m.err != nil {
		e.changed, e.moved = true, e.moved || len(e.past)+len(e.parts) > 0
	}
}

func (e *engine) spentNow() *uplinkv1.Spent {
	s := e.spent.Turn(e.limits, time.Now())
	return &uplinkv1.Spent{
		Hour: timestamppb.New(s.Hour), HourBytes: s.HourBytes, HourRecords: s.HourRecords,
		Month: timestamppb.New(s.Month), MonthBytes: s.MonthBytes, MonthRecords: s.MonthRecords,
	}
}
