package uplink

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// account is what has been spent of the budget.
type account struct {
	spent   far.Spent
	changed bool      // since it was last written to disk
	written far.Spent // as last written
	since   time.Time // when it was last written
	noting  bool      // a note is on its way to the disk

	ledger, place memory
	unnoted       bool   // a failure to write a note has been logged
	unknown       string // why a note could not be read

	meter traffic // counters of this connection, as last seen
}

// memory is whether the content of a note from earlier lives is known.
type memory uint8

const (
	unasked memory = iota // being read
	unread                // could not be read; it is tried again
	known                 // read, or never readable
)

type traffic struct{ sent, received uint64 }

// Notes of an uplink.
const (
	ledgerNote = "spent" // spending
	placeNote  = "ahead" // what was sent ahead of the read position
)

// recall reads what earlier lives have spent and sent ahead. Nothing is sent until both are known.
// The spending matters without a limit too, because a reload may set one.
func (e *engine) recall(c *actors.Context) {
	c.Recall(ledgerNote, &uplinkv1.Spent{})
	c.Recall(placeNote, &uplinkv1.Ahead{})
}

func (e *engine) limited() bool { return e.limits != (far.Limits{Billing: e.limits.Billing}) }

func (e *engine) recalled(c *actors.Context, m actors.Recalled) {
	state := known
	if m.Again {
		state = unread
	}
	if m.Err != nil {
		c.Log().Warn("the data budget and progress before this start are unknown", "note", m.Leaf, "err", m.Err, "again", m.Again)
	}
	if m.Leaf == ledgerNote {
		if e.ledger = state; m.Message != nil {
			e.recallSpent(m.Message.(*uplinkv1.Spent))
		}
	} else if e.place = state; m.Message != nil {
		e.recallAhead(m.Message.(*uplinkv1.Ahead))
	}
	if state == unread {
		e.unknown = "the progress before this start is unknown: " + m.Err.Error()
		e.reportUnknown(c)
	}
}

// reportUnknown reports degraded health if a note that is needed could not be read.
func (e *engine) reportUnknown(c *actors.Context) {
	if !e.remembers() && e.unknown != "" {
		e.error = e.unknown
		c.Degraded(e.error)
	}
}

// remembers reports whether enough is known about earlier lives to send.
func (e *engine) remembers() bool {
	needs := func(m memory, it bool) bool { return m == known || m == unread && !it }
	return needs(e.ledger, e.limited()) && needs(e.place, e.cfg.CatchUpOrder == freshFirst)
}

func (e *engine) recallSpent(s *uplinkv1.Spent) {
	before := e.spent
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

// count adds the traffic that the connection has counted.
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

// noteRarely is how often spending without a limit is written to disk.
const noteRarely = 10 * time.Minute

// due reports whether the spending is to be written to disk. Without a limit, losing some of it
// does no harm, so it is written only when it has grown by half or noteRarely has passed.
func (a *account) due(limited bool, now time.Time) bool {
	much := func(spent, written uint64) bool { return spent > written && spent/2 >= written }
	return a.changed && (limited || now.Sub(a.since) >= noteRarely ||
		much(a.spent.MonthBytes, a.written.MonthBytes) || much(a.spent.MonthRecords, a.written.MonthRecords))
}

// note writes the spending and the ranges sent ahead to disk.
func (e *engine) note(c *actors.Context) {
	if e.sender != nil {
		e.count()
	}
	if now := time.Now(); e.ledger == known && e.account.due(e.limited(), now) {
		e.changed, e.noting, e.written, e.since = false, true, e.spent, now
		c.Note(ledgerNote, e.spentNow())
	}
	if e.place == known && e.moved && e.reads != nil {
		e.moved = false
		c.Note(placeNote, e.aheadNow())
	}
}

// noted handles the outcome of writing a note.
func (e *engine) noted(c *actors.Context, m actors.Noted) {
	if m.Leaf == ledgerNote {
		e.noting = false
	}
	if m.Err != nil && !e.unnoted {
		c.Log().Warn("cannot save the data budget and progress; trying again", "note", m.Leaf, "err", m.Err)
	}
	e.unnoted = m.Err != nil
}

func (e *engine) spentNow() *uplinkv1.Spent {
	s := e.spent.Turn(e.limits, time.Now())
	return &uplinkv1.Spent{
		Hour: timestamppb.New(s.Hour), HourBytes: s.HourBytes, HourRecords: s.HourRecords,
		Month: timestamppb.New(s.Month), MonthBytes: s.MonthBytes, MonthRecords: s.MonthRecords,
	}
}
