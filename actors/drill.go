package actors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/bus"
)

// drill is the effect of a fault drill on the messages of one actor.
type drill struct {
	drop  float64 // share of messages dropped
	late  float64 // share of messages delayed
	delay time.Duration
	clear chan struct{} // closed when the drill ends
}

// intercept reports whether it has dealt with m, which was counted as waiting.
func (d *drill) intercept(c *Cell, pid *actor.PID, m mail) bool {
	switch {
	case d.drop > 0 && rand.Float64() < d.drop:
		c.waiting.Add(-1)
		c.shed.Add(1)
		if r, ok := m.(*Request); ok {
			c.queue.leave(r)
		}
		return true
	case d.late > 0 && rand.Float64() < d.late:
		time.AfterFunc(d.delay, func() { c.sys.runtime.Root.Send(pid, m) })
		return true
	}
	return false
}

// Drill injects a fault into an actor: "kill", "hang" (for d), "drop" or "delay" (a share of
// messages), or one of its kind's own Faults. answer is called with the outcome.
func (c *Cell) Drill(fault string, rate float64, d time.Duration, answer func(error)) {
	now := c.drillNow()
	switch fault {
	case "kill":
		c.post(kill{})
	case "hang":
		c.drill.Store(now)
		c.post(hang{d, now.clear})
	case "drop":
		now.drop = rate
		c.drill.Store(now)
	case "delay":
		now.late, now.delay = rate, d
		c.drill.Store(now)
	default:
		c.drillActor(fault, rate, answer)
		return
	}
	answer(nil)
}

func (c *Cell) drillActor(fault string, rate float64, answer func(error)) {
	if !slices.Contains(c.kind.Faults, fault) {
		answer(bus.Errorf(bus.InvalidArgument, "kind %s does not support fault %q", c.kind.Name, fault))
		return
	}
	r := &Request{msg: Inject{fault, rate}, answer: func(_ any, err error) { answer(err) }}
	if err := c.admit(r); err != nil {
		answer(err)
	}
}

// ClearDrill removes all faults from an actor.
func (c *Cell) ClearDrill() {
	if d := c.drill.Swap(nil); d != nil {
		close(d.clear)
	}
	if slices.Contains(c.kind.Faults, "plug") {
		c.drillActor("plug", 0, func(error) {})
	}
	if slices.Contains(c.kind.Faults, "corrupt") {
		c.drillActor("corrupt", 0, func(error) {})
	}
}

// drillNow returns a copy of the drill in force, to be changed and stored.
func (c *Cell) drillNow() *drill {
	if d := c.drill.Load(); d != nil {
		n := *d
		return &n
	}
	return &drill{clear: make(chan struct{})}
}

type kill struct{}

func (kill) deliver(l *life) {
	l.guard(nil, func() error { panic(fmt.Sprintf("killed by a drill, life %d", l.number)) })
}

type hang struct {
	limit time.Duration
	clear chan struct{}
}

func (h hang) deliver(*life) {
	t := time.NewTimer(h.limit)
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.clear:
	}
}
