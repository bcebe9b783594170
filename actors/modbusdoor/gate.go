package modbusdoor

import (
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// judgeTime is how long the gate waits for the firewall.
const judgeTime = 2 * time.Second

// Then handles the result of a request.
type Then = func(c *actors.Context, r *dispatch.Result)

// Attempt is one request of a caller on its way past the firewall to the unit and into the audit.
// Either Done or Fail is called, once.
type Attempt struct {
	Request modbus.Request
	Unit    string // name of the unit in firewall rules
	Link    string // path of the unit's line or link
	// Send sends this request, or one that reads back what it writes. It calls done once, unless it
	// has told the caller itself why it does not send.
	Send func(c *actors.Context, r modbus.Request, done Then)
	Done Then                               // called when the unit was asked, whatever it has answered
	Fail func(c *actors.Context, why error) // called when the firewall denies the request, or reading back fails

	began   time.Time
	request *actors.Request   // call that the request is part of, if any
	audit   *modbusv1.Audited // nil for requests that only read
}

// Gate submits callers' requests to the firewall and audits writes. It belongs to one actor; its
// zero value is ready for use.
type Gate struct {
	Tap    *modbus.Tap           // tap of the only link requests are sent over; nil: failed writes are reported without frames
	writes map[*Attempt]struct{} // writes that have no audit record yet
}

// Try submits a request of c's caller to the firewall wall and sends it if allowed. An empty wall
// means that there is no firewall.
func (g *Gate) Try(c *actors.Context, wall string, a *Attempt) {
	if err := a.Request.Check(modbus.TCP); err != nil { // a limit of serial lines only is left to the line
		a.Fail(c, actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	a.began = time.Now()
	if a.Request.Write() {
		a.request, a.audit = c.Request(), audited(c.Caller(), a.Request)
		if a.Unit != c.Name() {
			a.audit.Unit = a.Unit
		}
		if g.writes == nil {
			g.writes = map[*Attempt]struct{}{}
		}
		g.writes[a] = struct{}{}
	}
	if wall == "" {
		g.judged(c, a, firewall.Open(c.Caller().Identity))
		return
	}
	c.Ask(wall, &firewall.Question{Identity: c.Caller().Identity, Unit: a.Unit, Link: a.Link, Request: a.Request, Tag: a}, judgeTime)
}

// Take handles the answers of the firewall and the end of the actor. It reports whether msg was one
// of these.
func (g *Gate) Take(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *firewall.Judged:
		g.judged(c, m.Question.Tag.(*Attempt), m.Verdict)
	case actors.Failed:
		q, ok := m.Of.(*firewall.Question)
		if !ok {
			return false
		}
		a := q.Tag.(*Attempt)
		_, why := actors.Explain(m.Err)
		g.fail(c, a, "failed", actors.Errorf(actors.Unavailable, "unit %d: not sent: the firewall does not answer: %s", a.Request.Unit, why))
	case actors.Stopped:
		for a := range g.writes {
			g.tell(c, a, "unsure", "the actor was stopped before the outcome was known")
		}
	default:
		return false
	}
	return true
}

// judged carries out the verdict of the firewall.
func (g *Gate) judged(c *actors.Context, a *Attempt, v firewall.Verdict) {
	if a.audit != nil {
		a.audit.Rule = v.Rule
	}
	switch {
	case v.Action == firewall.Deny:
		g.deny(c, a, v.Rule, actors.Errorf(actors.PermissionDenied, "unit %d: exception 1: illegal function: %s", a.Request.Unit, v.Why))
	case v.Action == firewall.Swallow:
		g.tell(c, a, "swallowed", "")
		a.Done(c, &dispatch.Result{})
	case v.Action == firewall.Verify && a.audit != nil:
		g.verify(c, a)
	default:
		a.Send(c, a.Request, func(c *actors.Context, r *dispatch.Result) { g.conclude(c, a, r) })
	}
}

// conclude ends a request that is not verified by reading back.
func (g *Gate) conclude(c *actors.Context, a *Attempt, r *dispatch.Result) {
	if a.audit != nil {
		outcome, cause := outcomeOf(r)
		g.tell(c, a, outcome, cause)
	}
	a.Done(c, r)
}

// verify reads the old values, writes, and reads the new values.
func (g *Gate) verify(c *actors.Context, a *Attempt) {
	read, ok := readBack(a.Request)
	if !ok {
		g.deny(c, a, a.audit.Rule, actors.Errorf(actors.PermissionDenied, "unit %d: function %d cannot be read back, as rule %s requires",
			a.Request.Unit, a.Request.Function, a.audit.Rule))
		return
	}
	a.Send(c, read, func(c *actors.Context, r *dispatch.Result) {
		if r.Err != nil {
			g.fail(c, a, "failed", actors.Errorf(actors.FailedPrecondition,
				"unit %d: not sent: rule %s requires a read-back, but the registers cannot be read: %s", a.Request.Unit, a.audit.Rule, r.Cause()))
			return
		}
		a.audit.Before = readValues(read, r)
		a.Send(c, a.Request, func(c *actors.Context, r *dispatch.Result) {
			if r.Err != nil {
				g.conclude(c, a, r)
				return
			}
			a.Send(c, read, func(c *actors.Context, back *dispatch.Result) { g.compare(c, a, read, r, back) })
		})
	})
}

// compare judges a write by the values read back.
func (g *Gate) compare(c *actors.Context, a *Attempt, read modbus.Request, written, back *dispatch.Result) {
	if back.Err != nil {
		g.fail(c, a, "unverified", actors.Errorf(actors.FailedPrecondition, "unit %d: the write was confirmed, but could not be read back: %s",
			a.Request.Unit, back.Cause()))
		return
	}
	a.audit.After = readValues(read, back)
	if want := expected(a.audit); !slices.Equal(a.audit.After, want) {
		g.fail(c, a, "different", actors.Errorf(actors.FailedPrecondition, "unit %d: the write was confirmed, but %d+%d reads back as %d where %d was written",
			a.Request.Unit, a.audit.GetAddress(), len(want), a.audit.After, want))
		return
	}
	g.tell(c, a, "verified", "")
	a.Done(c, written)
}

// deny reports that a rule denies a request; empty: no rule allows it.
func (g *Gate) deny(c *actors.Context, a *Attempt, rule string, err error) {
	g.fail(c, a, "denied", actors.Detailed(err, &modbusv1.Refusal{Unit: uint32(a.Request.Unit), Rule: rule}))
}

// fail reports an error to the caller and to the audit.
func (g *Gate) fail(c *actors.Context, a *Attempt, outcome string, err error) {
	_, text := actors.Explain(err)
	g.tell(c, a, outcome, text)
	a.Fail(c, err)
}
