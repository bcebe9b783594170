package modbusunit

import (
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// judgeTime is how long the firewall may take.
const judgeTime = 2 * time.Second

// attempt is one request of a caller on its way: past the firewall, to the unit
// and into the audit.
type attempt struct {
	request modbus.Request
	done    then
	began   time.Time
	audit   *modbusv1.Audited // nil for what only reads
}

// attempts are the writes of which nothing has been told yet.
type attempts map[*attempt]struct{}

// try has the firewall judge a request of a caller, and sends what it allows.
// Every call goes this way, whatever door it came through.
func (u *unit) try(c *actors.Context, r modbus.Request, done then) {
	a := &attempt{request: r, done: done, began: time.Now()}
	if r.Write() {
		a.audit = audited(c.Caller(), r)
		if u.writes == nil {
			u.writes = attempts{}
		}
		u.writes[a] = struct{}{}
	}
	q := firewall.Question{Identity: c.Caller().Identity, Unit: c.Name(), Request: r, Tag: a}
	if u.cfg.Firewall == "" {
		u.judged(c, a, firewall.Open(q.Identity))
		return
	}
	c.Ask(u.cfg.Firewall, &q, judgeTime)
}

// atGate takes requests of other doors and what concerns the firewall, and says
// whether msg was one of these.
func (u *unit) atGate(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *wire.Transact:
		u.try(c, m.Request, func(c *actors.Context, r *wire.Result) { c.Reply(&wire.Transacted{Of: m, Result: *r}) })
	case *firewall.Judged:
		u.judged(c, m.Question.Tag.(*attempt), m.Verdict)
	case actors.Failed:
		q, ok := m.Of.(*firewall.Question)
		if !ok {
			return false
		}
		_, why := actors.Explain(m.Err)
		u.fail(c, q.Tag.(*attempt), "failed", actors.Errorf(actors.Unavailable, "unit %d: not sent: the firewall does not answer: %s", u.cfg.Unit, why))
	case actors.Stopped:
		for a := range u.writes {
			u.tell(c, a, "unsure", "the unit's actor was stopped meanwhile")
		}
	default:
		return false
	}
	return true
}

// judged goes on as the firewall says.
func (u *unit) judged(c *actors.Context, a *attempt, v firewall.Verdict) {
	if a.audit != nil {
		a.audit.Rule = v.Rule
	}
	switch {
	case v.Action == firewall.Deny:
		u.fail(c, a, "denied", actors.Errorf(actors.PermissionDenied, "unit %d: exception 1: illegal function: %s", u.cfg.Unit, v.Why))
	case v.Action == firewall.Swallow:
		u.tell(c, a, "swallowed", "")
		a.done(c, &wire.Result{})
	case v.Action == firewall.Verify && a.audit != nil:
		u.verify(c, a)
	default:
		u.pass(c, a, u.conclude)
	}
}

// pass sends the request; next gets what it has brought. What cannot be sent at
// all is refused to the caller by send, and no attempt to write.
func (u *unit) pass(c *actors.Context, a *attempt, next func(*actors.Context, *attempt, *wire.Result)) {
	sent := a.request
	sent.Unit = uint8(u.cfg.Unit)
	if sent.Check(modbus.TCP) != nil {
		delete(u.writes, a)
	}
	u.send(c, a.request, func(c *actors.Context, r *wire.Result) { next(c, a, r) })
}

// conclude ends a request that is not verified.
func (u *unit) conclude(c *actors.Context, a *attempt, r *wire.Result) {
	if a.audit != nil {
		outcome, cause := outcomeOf(r)
		u.tell(c, a, outcome, cause)
	}
	a.done(c, r)
}

// verify reads what is there, writes, and reads what is there then.
func (u *unit) verify(c *actors.Context, a *attempt) {
	read, ok := readBack(a.request)
	if !ok {
		u.fail(c, a, "denied", actors.Errorf(actors.PermissionDenied, "unit %d: function %d cannot be read back, as rule %s demands",
			u.cfg.Unit, a.request.Function, a.audit.Rule))
		return
	}
	u.send(c, read, func(c *actors.Context, r *wire.Result) {
		if r.Err != nil {
			u.fail(c, a, "failed", actors.Errorf(actors.FailedPrecondition,
				"unit %d: not sent: what rule %s wants read back cannot be read: %s", u.cfg.Unit, a.audit.Rule, causeOf(r)))
			return
		}
		a.audit.Before = readValues(read, r)
		u.pass(c, a, func(c *actors.Context, a *attempt, r *wire.Result) {
			if r.Err != nil {
				u.conclude(c, a, r)
				return
			}
			u.send(c, read, func(c *actors.Context, back *wire.Result) { u.compare(c, a, read, r, back) })
		})
	})
}

// compare judges a write by what reads back.
func (u *unit) compare(c *actors.Context, a *attempt, read modbus.Request, written, back *wire.Result) {
	if back.Err != nil {
		u.fail(c, a, "unverified", actors.Errorf(actors.Unavailable, "unit %d: the write was confirmed, but could not be read back: %s",
			u.cfg.Unit, causeOf(back)))
		return
	}
	a.audit.After = readValues(read, back)
	if want := expected(a.audit); !slices.Equal(a.audit.After, want) {
		u.fail(c, a, "different", actors.Errorf(actors.FailedPrecondition, "unit %d: the write was confirmed, but %d+%d reads back as %d where %d was written",
			u.cfg.Unit, a.audit.Address, len(want), a.audit.After, want))
		return
	}
	u.tell(c, a, "verified", "")
	a.done(c, written)
}

// fail tells the caller and the audit.
func (u *unit) fail(c *actors.Context, a *attempt, outcome string, err error) {
	_, text := actors.Explain(err)
	u.tell(c, a, outcome, text)
	c.Refuse(err)
}
