package supervisor

import (
	"log/slog"
	"time"

	"gatewayd/actors"
)

// Limits of log lines about changes of health: per actor, and for all children of a group.
var (
	ofActor = bound{burst: 4, each: 30 * time.Second}
	ofGroup = bound{burst: 20, each: 3 * time.Second}
)

// bound allows burst lines at once, and then one per each.
type bound struct {
	burst int
	each  time.Duration
}

// spent is the state of a bound: the time at which it is fully replenished.
type spent time.Time

// pass reports whether one more line may be logged now.
func (b bound) pass(s spent, now time.Time) (spent, bool) {
	until := time.Time(s)
	if until.Before(now) {
		until = now
	}
	until = until.Add(b.each)
	if until.Sub(now) > time.Duration(b.burst)*b.each {
		return s, false
	}
	return spent(until), true
}

// chronicle records what was logged about the health of one actor.
type chronicle struct {
	state string // last logged state; empty: healthy, or nothing logged yet
	since time.Time
	spent spent
	late  bool // a suppressed line is to be logged later if it still applies
}

// retold is sent when a suppressed line is due.
type retold struct{ c *child }

// news returns the log line for a change to state, if it deserves one. Failures do not, because
// healing is logged separately.
func (c *chronicle) news(state string) (level slog.Level, text string, worth bool) {
	switch {
	case state == actors.OK && c.state != "":
		return slog.LevelInfo, "healthy again", true
	case state == actors.Degraded && c.state == "":
		return slog.LevelWarn, "degraded", true
	case state == actors.Unreachable && c.state != state:
		return slog.LevelWarn, "unreachable", true
	}
	return 0, "", false
}

// chronicle logs changes of a child's health. Lines beyond the limits are counted, and logged later
// if the state lasts.
func (g *group) chronicle(c *child) {
	state, now := c.cell.State(), time.Now()
	level, text, worth := c.told.news(state)
	if !worth || c.node.Kind == "" {
		return
	}
	mine, one := ofActor.pass(c.told.spent, now)
	all, many := ofGroup.pass(g.told, now)
	if !one || !many {
		g.untold++
		if !c.told.late {
			c.told.late = true
			g.after(ofActor.each, retold{c})
		}
		return
	}
	c.told.spent, g.told = mine, all
	args := []any{"path", c.path}
	if cause := c.cell.Health().Cause; cause != "" {
		args = append(args, "cause", cause)
	}
	if state == actors.OK {
		args = append(args, "after", now.Sub(c.told.since).Round(time.Second))
		state = ""
	} else if c.told.state == "" {
		c.told.since = now
	}
	c.told.state = state
	if g.untold > 0 {
		args = append(args, "untold", g.untold)
		g.untold = 0
	}
	g.t.sys.Log.Log(g.line.ctx, level, text, args...)
}
