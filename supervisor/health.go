package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	actorv1 "gatewayd/schemas/actor/v1"
	"gatewayd/supervisor/ladder"
)

// recovered is the level of the event that ends a sequence of healing.
const recovered ladder.Level = "recovered"

// say publishes a decision as an event and logs it; nats sub 'gw.*.event.>' shows all of them.
func (g *group) say(c *child, act ladder.Action, cause string, life uint32) {
	level := slog.LevelWarn
	if act.Level == recovered {
		level = slog.LevelInfo
	}
	g.t.sys.Log.Log(context.Background(), level, "healing", "child", c.path, "level", string(act.Level), "attempt", act.Attempt, "left", act.Left, "delay", act.Delay, "cause", cause)
	if act.Level != recovered {
		c.cell.Heal(string(act.Level))
	}
	g.cell.Event("healed", &actorv1.Healed{
		Child: c.path, Level: string(act.Level), Attempt: uint32(act.Attempt), Left: uint32(act.Left),
		Cause: cause, Delay: durationpb.New(act.Delay), Life: life, Time: timestamppb.Now(),
	})
	g.goOn() // the bus may be what is stuck
}

// changed follows the health of a child: it publishes a recovery, and updates the health of this
// group, which is that of its least healthy child.
func (g *group) changed(c *child) {
	if c.leaving {
		return
	}
	g.chronicle(c)
	state := c.cell.State()
	if state == actors.OK {
		c.notOK = ""
		if c.healing && c.state == up {
			c.healing = false
			h := g.rec.children[c.path]
			h.Probation = false
			keep(&g.rec.children, c.path, h)
			g.say(c, ladder.Action{Level: recovered}, "", c.cell.Life())
		}
	} else {
		c.notOK = state
	}
	g.sumSoon()
}

// sumSoon sums once for many children that change together.
func (g *group) sumSoon() {
	if !g.summing {
		g.summing = true
		g.after(10*time.Millisecond, summed{})
	}
}

// rank orders the states, best first.
func rank(state string) int {
	switch state {
	case actors.OK:
		return 0
	case actors.Starting:
		return 1
	case actors.Gone:
		return 2
	case actors.Degraded:
		return 3
	case actors.Unreachable:
		return 4
	case actors.Quarantined:
		return 5
	default:
		return 6
	}
}

func (g *group) sum() {
	g.summing = false
	if g.phase == gaveUp {
		return // the reported state is final
	}
	worst, of, n := actors.OK, (*child)(nil), 0
	for _, c := range g.children {
		if c.notOK == "" {
			continue
		}
		if n++; of == nil || rank(c.notOK) > rank(worst) || c.notOK == worst && c.path < of.path {
			worst, of = c.notOK, c
		}
	}
	switch {
	case of == nil:
		g.cell.SetHealth(actors.OK, "")
	case n == 1:
		g.cell.SetHealth(worst, of.cell.Token())
	default:
		g.cell.SetHealth(worst, fmt.Sprintf("%s and %d more", of.cell.Token(), n-1))
	}
}
