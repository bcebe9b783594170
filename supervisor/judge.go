package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	actorv1 "gatewayd/schemas/actor/v1"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// HandleFailure implements actor.SupervisorStrategy: protoactor calls it in this
// group's mailbox, with the child suspended.
func (g *group) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if g.path == Root {
		defer g.lastStand()
	}
	c := g.byPID[pid.Id]
	if c == nil || c.pid == nil || c.pid.Id != pid.Id {
		g.pc.Stop(pid) // an abandoned one that came back
		return
	}
	var f *actors.Fault
	if err, ok := reason.(error); !ok || !errors.As(err, &f) {
		f = &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: fmt.Errorf("panic: %v", reason)}
	}
	if f.Stack != nil {
		g.t.sys.Log.Error("an actor panicked", "actor", c.path, "life", f.Life, "err", f.Err, "stack", string(f.Stack))
	}
	c.crashed = c.node.Kind == ""
	g.fail(c, f)
}

// fail judges a failure of a child and acts.
func (g *group) fail(c *child, f *actors.Fault) {
	if g.phase == draining || c.state == stopping || g.isDark(c) {
		if c.pid != nil {
			g.pc.Stop(c.pid) // it is to be stopped anyway
		}
		return
	}
	want := ladder.Failure{AtLeast: ladder.Restart, Jitter: g.t.opts.Rand()}
	owners := g.implicated(c, f.Level)
	want.CanCycle = len(owners) > 0
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
	h, cycles, act := rungs.Judge(g.rec.children[c.path], g.rec.cycles, want, g.t.now())
	g.rec.children[c.path], g.rec.cycles = h, cycles
	g.carryOut(c, act, f, owners)
}

// carryOut does what the ladder has decided.
func (g *group) carryOut(c *child, act ladder.Action, f *actors.Fault, owners []*child) {
	cause := f.Error()
	c.healing = true
	if act.Level == ladder.Restart && c.node.Kind == "" {
		act.Level = ladder.FullRestart
	}
	if act.Level == ladder.Escalate && g.path == Root {
		act.Level, act.Delay = ladder.Watchdog, g.ladder.Quarantine
	}
	g.say(c, act, cause, f.Life)
	g.enter(c, waiting)
	switch act.Level {
	case ladder.Restart, ladder.FullRestart:
		g.reviveAfter(c, act.Delay)
	case ladder.Cycle:
		for _, owner := range owners {
			g.step(owner, power.Requested)
		}
	case ladder.Quarantine:
		g.quarantine(c, act.Delay, cause)
	case ladder.Broken:
		g.enter(c, down)
		c.cell.Close("its config can not work: " + cause)
	case ladder.Watchdog:
		g.t.opts.Starve(c.path, cause)
		g.quarantine(c, act.Delay, cause) // the breaker may hold the dog back for long
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
	g.after(d, retry{c, c.gen})
}

// revive gives a child that is down or suspended a new life.
func (g *group) revive(c *child) {
	switch {
	case g.phase == draining || g.isDark(c):
		return // the start at the end of the cycle revives it
	case c.pid == nil:
		g.spawn(c)
	case c.node.Kind == "":
		g.stopChild(c, func() {
			g.t.forget(c.path) // a full restart is a fresh start: everybody below gets his budget back
			if g.phase != draining {
				g.spawn(c)
			}
		})
	default:
		c.cell.Open()
		g.enter(c, up)
		g.pc.(actor.Supervisor).RestartChildren(c.pid)
	}
}

// giveUp hands the judgement to the group above. This one goes on with what
// still works until it is told.
func (g *group) giveUp(cause string) {
	if g.phase == gaveUp {
		return
	}
	g.phase = gaveUp
	g.pc.Send(g.pc.Parent(), escalated{g.path, cause})
}

// escalated is a child group with nothing left.
func (g *group) escalated(m escalated) {
	for _, c := range g.children {
		if c.path == m.path && c.state == up {
			g.fail(c, &actors.Fault{Path: m.path, Life: c.cell.Life(), Err: errors.New(m.cause)})
		}
	}
}

// recovered is the level that ends a story of healing.
const recovered ladder.Level = "recovered"

// say publishes a decision; nats sub 'gw.*.event.>' is the diagnosis tool.
func (g *group) say(c *child, act ladder.Action, cause string, life uint32) {
	level := slog.LevelWarn
	if act.Level == recovered {
		level = slog.LevelInfo
	}
	g.t.sys.Log.Log(context.Background(), level, "healing", "child", c.path, "level", string(act.Level), "attempt", act.Attempt, "left", act.Left, "delay", act.Delay, "cause", cause)
	g.cell.Event("healed", &actorv1.Healed{
		Child: c.path, Level: string(act.Level), Attempt: uint32(act.Attempt), Left: uint32(act.Left),
		Cause: cause, Delay: durationpb.New(act.Delay), Life: life, Time: timestamppb.Now(),
	})
}

// changed follows the health of a child: it tells when one is well again, and
// makes this group as healthy as its least healthy child.
func (g *group) changed(c *child) {
	state := c.cell.State()
	if state == actors.OK {
		delete(g.notOK, c)
		if c.healing && c.state == up {
			c.healing = false
			h := g.rec.children[c.path]
			h.Probation = false
			g.rec.children[c.path] = h
			g.say(c, ladder.Action{Level: recovered}, "", c.cell.Life())
		}
	} else {
		g.notOK[c] = state
	}
	if !g.summing { // many children change together: sum once
		g.summing = true
		g.after(10*time.Millisecond, summed{})
	}
}

// ranks order the states, best first.
var ranks = map[string]int{
	actors.OK: 0, actors.Starting: 1, actors.Gone: 2, actors.Degraded: 3, actors.Unreachable: 4, actors.Quarantined: 5, actors.Bad: 6,
}

func (g *group) sum() {
	g.summing = false
	worst, of := actors.OK, (*child)(nil)
	for c, s := range g.notOK {
		if ranks[s] > ranks[worst] || s == worst && c.path < of.path {
			worst, of = s, c
		}
	}
	switch {
	case of == nil:
		g.cell.SetHealth(actors.OK, "")
	case len(g.notOK) == 1:
		g.cell.SetHealth(worst, of.cell.Token())
	default:
		g.cell.SetHealth(worst, fmt.Sprintf("%s and %d more", of.cell.Token(), len(g.notOK)-1))
	}
}
