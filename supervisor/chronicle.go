package supervisor

import (
	"log/slog"
	"time"

	"gatewayd/actors"
)

// How much of who went away and came back the log is told: of one actor, and of
// all of one group.
var (
	ofActor = bound{burst: 4, each: 30 * time.Second}
	ofGroup = bound{burst: 20, each: 3 * time.Second}
)

// bound lets so many pass at once, and then one each time.
type bound struct {
	burst int
	each  time.Duration
}

// spent is what has passed a bound: when all of it will be forgotten.
type spent time.Time

// pass reports whether one more may pass now.
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

// chronicle is what the log was told of one actor: when it went away, and when it
// returned.
type chronicle struct {
	state string // the last one told; empty: that it is well, or nothing
	since time.Time
	spent spent
	late  bool // what is so is told later, if it still is
}

// retold is the moment to look again at what was too much to tell.
type retold struct{ c *child }

// news is a line of the log, if a state of health is worth one. What failed is not:
// the healing of it is told.
func (c *chronicle) news(state string) (level slog.Level, text string, worth bool) {
	switch {
	case state == actors.OK && c.state != "":
		return slog.LevelInfo, "well again", true
	case state == actors.Degraded && c.state == "":
		return slog.LevelWarn, "degraded", true
	case state == actors.Unreachable && c.state != state:
		return slog.LevelWarn, "unreachable", true
	}
	return 0, "", false
}

// chronicle tells the log who goes away and who returns, so that it tells the
// story by itself. What is too much is counted, and told later if it lasts.
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
