package supervisor

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// HandleFailure implements actor.SupervisorStrategy: protoactor calls it in this group's mailbox,
// with the child suspended.
func (g *group) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if g.path == Root {
		defer g.starveOnPanic()
	}
	c := g.at(pid)
	if c == nil || g.line.left.Load() {
		g.pc.Stop(pid) // an abandoned child that came back
		return
	}
	f := faultOf(c, reason)
	if f.Stack != nil {
		g.t.sys.Log.Error("an actor panicked", "actor", c.path, "life", f.Life, "err", f.Err, "stack", string(f.Stack))
	}
	if c.node.Kind == "" {
		c.crashed = true
		c.cell.SetHealth(actors.Bad, f.Error())
		c.cell.SetSupervisor(g.steering())
	} else if f.Life <= c.reborn {
		return // a new life has been started meanwhile
	}
	g.fail(c, f)
}

func faultOf(c *child, reason any) *actors.Fault {
	var f *actors.Fault
	if err, ok := reason.(error); ok && errors.As(err, &f) {
		return f
	}
	return &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: fmt.Errorf("panic: %v", reason)}
}

// fail judges a failure of a child and acts.
func (g *group) fail(c *child, f *actors.Fault) {
	if g.phase == draining || c.leaving || c.state == stopping || g.inCycle(c) {
		if c.pid != nil {
			g.pc.Stop(c.pid) // it is to be stopped anyway
		}
		return
	}
	owners := g.implicated(c, f.Level)
	want := ladder.Failure{AtLeast: ladder.Restart, CanCycle: len(owners) > 0, Jitter: g.t.opts.Rand()}
	switch f.Level {
	case actors.LevelCycle:
		want.AtLeast = ladder.Cycle
	case actors.LevelBroken:
		want.AtLeast = ladder.Broken
	}
	rungs := g.ladder
	if c.node.Kind != "" {
		rungs = g.actors
	}
	var cycles ladder.History
	if len(owners) > 0 {
		cycles = g.rec.cycles[owners[0].path]
	}
	h, cycles, act := rungs.Judge(g.rec.children[c.path], cycles, want, g.t.now())
	keep(&g.rec.children, c.path, h)
	if act.Level == ladder.Cycle {
		for _, owner := range owners {
			keep(&g.rec.cycles, owner.path, cycles)
		}
	}
	g.carryOut(c, act, f, owners)
}

// carryOut does what the ladder has decided.
func (g *group) carryOut(c *child, act ladder.Action, f *actors.Fault, owners []*child) {
	cause := f.Error()
	c.healing = true
	switch {
	case act.Level == ladder.Restart && c.node.Kind == "":
		act.Level = ladder.FullRestart
	case act.Level == ladder.Escalate && g.path == Root:
		act.Level, act.Delay = ladder.Watchdog, g.ladder.Quarantine
	case act.Level == ladder.Cycle:
		act.Delay = g.held(owners[0])
	}
	g.say(c, act, cause, f.Life)
	g.enter(c, waiting)
	switch act.Level {
	case ladder.Restart, ladder.FullRestart:
		g.reviveAfter(c, act.Delay)
	case ladder.Cycle:
		c.waitsFor = owners[0]
		for _, owner := range owners {
			g.step(owner, power.Requested)
		}
	case ladder.Quarantine:
		g.quarantine(c, act.Delay, cause)
	case ladder.Broken:
		g.enter(c, broken)
		c.cell.Close("its config cannot work: " + cause)
	case ladder.Watchdog:
		g.t.opts.Starve(c.path, cause)
		g.quarantine(c, act.Delay, cause) // the breaker may hold the watchdog back for long
	case ladder.Escalate:
		g.giveUp(c.path + ": " + cause)
	}
}

func (g *group) quarantine(c *child, d time.Duration, cause string) {
	until := time.Now().Add(d).Format(time.TimeOnly)
	c.cell.SetHealth(actors.Quarantined, "until "+until+": "+cause)
	c.cell.Close("quarantined until " + until + ": " + cause)
	g.reviveAfter(c, d)
}

func (g *group) reviveAfter(c *child, d time.Duration) {
	if d <= 0 {
		g.revive(c)
		return
	}
	c.timer = g.after(d, retry{c, c.gen})
}

// revive gives a child that is down or suspended a new life. A child affected by a power cycle gets
// it at the end of the cycle.
func (g *group) revive(c *child) {
	switch {
	case g.phase == draining || c.leaving || g.inCycle(c):
	case c.pid == nil:
		g.launch(c)
	case c.node.Kind == "":
		g.stopChild(c, func() {
			g.t.resetBudgets(c.path) // a full restart is a fresh start: all budgets below are restored
			g.launch(c)
		})
	default:
		g.renew(c)
	}
}

// giveUp leaves the decision to the group above. This group keeps running what still works until it
// is told otherwise.
func (g *group) giveUp(cause string) {
	if g.phase == gaveUp {
		return
	}
	g.phase = gaveUp
	g.cell.SetHealth(actors.Bad, cause)
	g.pc.Send(g.pc.Parent(), escalated{g.pc.Self(), cause})
}

// escalated handles a child group that has used up its ladder.
func (g *group) escalated(m escalated) {
	c := g.at(m.who)
	if c != nil && c.state == up {
		g.fail(c, &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: errors.New(m.cause)})
	}
}
