package uplink

import (
	"context"
	"time"

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
	writing bool
	meter   traffic // of this connection, as last seen
}

type traffic struct{ sent, received uint64 }

const (
	noteTime = 20 * time.Second
	ledger   = "spent"
)

type (
	recalled struct {
		spent *uplinkv1.Spent
		err   error
	}
	noted struct{ err error }
)

// recall reads what was spent in earlier lives. Until that is known nothing is sent.
func (e *engine) recall(c *actors.Context) {
	if e.limits == (far.Limits{Billing: e.limits.Billing}) {
		e.known = true // nothing is limited
		return
	}
	book := c.Notebook()
	c.Do(noteTime, func(ctx context.Context) (any, error) {
		m := &uplinkv1.Spent{}
		_, err := book.Read(ctx, ledger, m)
		return recalled{m, err}, nil
	})
}

func (e *engine) recalled(c *actors.Context, m recalled) {
	if m.err != nil {
		c.Log().Warn("what was spent of the budget before is not known", "err", m.err)
	}
	e.known = true
	s, before := m.spent, e.spent
	if s.GetHour() == nil {
		return
	}
	e.spent = far.Spent{
		Hour: s.Hour.AsTime(), Month: s.Month.AsTime(), HourBytes: s.HourBytes, HourRecords: s.HourRecords, MonthBytes: s.MonthBytes, MonthRecords: s.MonthRecords,
	}
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

// note writes down what was spent, if it is limited.
func (e *engine) note(c *actors.Context) {
	if e.sender != nil {
		e.count()
	}
	if !e.changed || e.writing || !e.known || e.limits == (far.Limits{Billing: e.limits.Billing}) {
		return
	}
	e.changed, e.writing = false, true
	book, m := c.Notebook(), e.spentNow()
	c.Do(noteTime, func(ctx context.Context) (any, error) { return noted{book.Write(ctx, ledger, m)}, nil })
}

func (e *engine) noted(m noted) {
	e.writing = false
	e.changed = e.changed || m.err != nil
}

func (e *engine) spentNow() *uplinkv1.Spent {
	s := e.spent.Turn(e.limits, time.Now())
	return &uplinkv1.Spent{
		Hour: timestamppb.New(s.Hour), HourBytes: s.HourBytes, HourRecords: s.HourRecords,
		Month: timestamppb.New(s.Month), MonthBytes: s.MonthBytes, MonthRecords: s.MonthRecords,
	}
}
