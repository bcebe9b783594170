package modbusfirewall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

const (
	writeTime  = 10 * time.Second // limit for one safe write
	tryAgain   = 5 * time.Second  // pause after a failed safe write or a failed Locate
	answerTime = time.Second      // limit for the answer of a unit that no actor polls
	locateTime = 2 * time.Second  // limit for a unit to report its place
)

type (
	check struct{ group *group } // check whether the group is silent
	order struct {               // carry out a safe write of the trip with this number
		group *group
		trip  int
		write *safeWrite
	}
	locate struct{ unit string } // ask the unit for its place again
)

// guard puts groups in force.
func (k *keeper) guard(c *actors.Context, groups []*group) error {
	watched := map[string]bool{}
	for _, g := range k.groups {
		watched[g.cfg.Unit] = true
		if g.watch.Tripped() && named(groups, g.cfg.Name) == nil {
			k.gone = append(k.gone, g.cfg.Name)
		}
	}
	k.groups = groups
	k.locate(c)
	for _, g := range groups {
		if g.cfg.Unit != "" && !watched[g.cfg.Unit] {
			watched[g.cfg.Unit] = true
			if err := c.Subscribe("data/" + g.cfg.Unit + "/#"); err != nil {
				return err
			}
		}
		if k.back(g) {
			k.trip(c, g, "it had tripped before it was removed from the config and added again")
			continue
		}
		k.look(c, g)
		if g.watch.Tripped() {
			k.makeSafe(c, g)
		}
	}
	k.say(c)
	return nil
}

// verdict judges a request. While a group has tripped, its callers may not write to the units of
// its safe writes. The firewall's own requests, which bring these units into the safe state, are
// always allowed.
func (k *keeper) verdict(c *actors.Context, q *firewall.Question) firewall.Verdict {
	now := time.Now()
	if q.Identity == "actor/"+c.Name() {
		return firewall.Verdict{Action: firewall.Allow}
	}
	deny := ""
	for _, g := range k.groups {
		if !g.callers.Match(q.Identity) {
			continue
		}
		if len(g.cfg.Callers) > 0 {
			g.watch.SignOfLife(now)
		}
		switch {
		case !q.Request.Write() || !slices.ContainsFunc(g.writes, func(w *safeWrite) bool { return k.concerns(w, q) }):
		case g.watch.Tripped():
			deny = "dead-man group " + g.cfg.Name + " has tripped; call Release of " + c.Name() + " first"
		case k.recall:
			deny = "it is not known yet whether dead-man group " + g.cfg.Name + " has tripped"
		}
	}
	if deny != "" {
		return firewall.Verdict{Action: firewall.Deny, Why: deny}
	}
	return k.rules.Judge(*q, now)
}

// watch handles messages that concern the dead-man groups.
func (k *keeper) watch(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case check:
		if named(k.groups, m.group.cfg.Name) == m.group {
			k.look(c, m.group)
		}
	case order:
		k.write(c, m)
	case *dispatch.Transacted:
		k.wrote(c, m.Of.Tag.(order), m.Err)
	case *dispatch.Answer:
		k.gate.Tap = m.Tap
		m.Ask.Tag.(modbusdoor.Then)(c, &m.Results[0])
	case dispatch.Place:
		k.places[m.Unit] = m
		delete(k.asking, m.Unit)
	case locate:
		c.Ask(m.unit, dispatch.Locate{Unit: m.unit}, locateTime)
	case actors.Delivery:
		k.delivered(c, m)
	case actors.Recalled:
		k.recalled(c, m)
	case actors.Noted:
		k.noted(c, m.Err)
	case lastWord:
		k.recall = false
		k.tell(c)
	case actors.Failed:
		switch of := m.Of.(type) {
		case *dispatch.Transact:
			k.wrote(c, of.Tag.(order), m.Err)
		case *dispatch.Ask:
			of.Tag.(modbusdoor.Then)(c, &dispatch.Result{Err: m.Err, Outcome: schedule.NotSent})
		case dispatch.Locate:
			c.After(tryAgain, locate{of.Unit})
		case lastWord:
			k.recall = false
			k.tell(c)
		}
	case *modbusv1.HeartbeatRequest:
		k.heartbeat(c, m)
	case *modbusv1.ReleaseRequest:
		k.release(c, m)
	}
}

// look trips a group if it has been silent for too long, and otherwise schedules the next check.
func (k *keeper) look(c *actors.Context, g *group) {
	trips, next := g.watch.Check(time.Now())
	if trips {
		k.trip(c, g, "silent since "+g.watch.Last().Format("15:04:05"))
	} else if next > 0 {
		g.timer.Stop()
		g.timer = c.After(next, check{g})
	}
}

func (k *keeper) trip(c *actors.Context, g *group, why string) {
	g.watch.Trip()
	g.trips++
	k.locate(c)
	for _, w := range g.writes {
		w.done = false
	}
	c.Event("dead-man", &modbusv1.DeadManChanged{Group: g.cfg.Name, State: "tripped", Cause: why})
	k.tell(c)
	k.makeSafe(c, g)
}

// makeSafe starts the safe writes that are not done yet.
func (k *keeper) makeSafe(c *actors.Context, g *group) {
	for _, w := range g.writes {
		if !w.done {
			k.write(c, order{g, g.trips, w})
		}
	}
	if len(g.writes) == 0 {
		c.Event("dead-man", &modbusv1.DeadManChanged{Group: g.cfg.Name, State: "safe", Cause: "no safe writes are configured"})
	}
}

// over reports whether an order is obsolete: the group has been replaced or released, or has
// tripped again.
func (k *keeper) over(o order) bool {
	return named(k.groups, o.group.cfg.Name) != o.group || !o.group.watch.Tripped() || o.trip != o.group.trips
}

// write carries out one safe write. It acts under the actor's own identity and apart from the
// message being handled, whose caller may give up.
func (k *keeper) write(c *actors.Context, o order) {
	if k.over(o) {
		return
	}
	as := c.Apart().As(actors.Caller{Identity: "actor/" + c.Name(), Trace: actors.NewTrace()})
	if o.write.link == "" {
		as.Ask(o.write.unit, &dispatch.Transact{Request: o.write.request, Tag: o}, writeTime)
		return
	}
	k.gate.Try(as, "", &modbusdoor.Attempt{
		Request: o.write.request, Unit: o.write.unit, Link: o.write.link,
		Send: func(c *actors.Context, r modbus.Request, done modbusdoor.Then) {
			c.Ask(o.write.link, &dispatch.Ask{
				Class: schedule.Write, Rest: o.write.rest, Expires: time.Now().Add(writeTime / 2), Requests: []modbus.Request{r},
				Timeouts: []time.Duration{answerTime}, Tag: done,
			}, writeTime)
		},
		Done: func(c *actors.Context, r *dispatch.Result) { k.wrote(c, o, r.Err) },
		Fail: func(c *actors.Context, err error) { k.wrote(c, o, err) },
	})
}

// wrote handles the outcome of a safe write. An unconfirmed write is repeated until it is
// confirmed.
func (k *keeper) wrote(c *actors.Context, o order, err error) {
	if k.over(o) {
		return
	}
	g := o.group
	if err != nil {
		_, why := actors.Explain(err)
		c.Event("dead-man", &modbusv1.DeadManChanged{Group: g.cfg.Name, State: "unsafe", Cause: fmt.Sprintf("%s: %s: %s", o.write.unit, o.write.what, why)})
		c.After(tryAgain, o)
		return
	}
	o.write.done = true
	if !slices.ContainsFunc(g.writes, func(w *safeWrite) bool { return !w.done }) {
		c.Event("dead-man", &modbusv1.DeadManChanged{Group: g.cfg.Name, State: "safe"})
	}
}

// delivered handles the stored state, and samples that may hold a sign of life.
func (k *keeper) delivered(c *actors.Context, m actors.Delivery) {
	if m.Kept {
		var s modbusv1.DeadManState
		if protojson.Unmarshal(m.Payload, &s) == nil && k.recall {
			k.known(c, &s)
		}
		return
	}
	var samples *samplev1.Samples
	for _, g := range k.groups {
		if g.cfg.Unit == "" || !strings.HasPrefix(m.Topic, "data/"+g.cfg.Unit+"/") {
			continue
		}
		if samples == nil {
			samples = &samplev1.Samples{}
			if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(m.Payload, samples) != nil {
				return
			}
		}
		g.sample(samples)
	}
}

func (k *keeper) heartbeat(c *actors.Context, m *modbusv1.HeartbeatRequest) {
	g := named(k.groups, m.Group)
	switch {
	case g == nil:
		c.Refuse(actors.Errorf(actors.NotFound, "unknown dead-man group %q", m.Group))
	case !g.callers.Match(c.Caller().Identity):
		c.Refuse(actors.Errorf(actors.PermissionDenied, "%s is not among the callers of dead-man group %s", c.Caller().Identity, m.Group))
	case g.watch.Tripped():
		c.Refuse(actors.Errorf(actors.FailedPrecondition, "dead-man group %s has tripped; call Release first", m.Group))
	default:
		g.watch.SignOfLife(time.Now())
		c.Reply(&modbusv1.HeartbeatResponse{})
	}
}

func (k *keeper) release(c *actors.Context, m *modbusv1.ReleaseRequest) {
	g := named(k.groups, m.Group)
	if g == nil {
		c.Refuse(actors.Errorf(actors.NotFound, "unknown dead-man group %q", m.Group))
		return
	}
	c.Reply(&modbusv1.ReleaseResponse{})
	if !g.watch.Tripped() {
		return
	}
	g.watch.Release(time.Now())
	c.Event("dead-man", &modbusv1.DeadManChanged{Group: m.Group, State: "released", Caller: c.Caller().Identity})
	k.tell(c)
	k.look(c.Apart(), g)
}

// tell publishes which groups have tripped and notes it for the next life.
func (k *keeper) tell(c *actors.Context) {
	c.State("dead-man", &modbusv1.DeadManState{Tripped: k.tripped()})
	k.say(c)
	k.note(c)
}

// say sets the health.
func (k *keeper) say(c *actors.Context) {
	for _, g := range k.groups {
		if g.watch.Tripped() {
			c.Degraded("dead-man group " + g.cfg.Name + " has tripped")
			return
		}
	}
	if k.lost != "" && len(k.groups) > 0 {
		c.Degraded(k.lost)
		return
	}
	c.OK()
}
