package supervisor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
	"gatewayd/supervisor/config"
)

// verdict is due at the end of the time in which a change has to get healthy.
type verdict struct{ a *applying }

// kept answers whoever wanted the change, and gives it time to prove itself.
// Others may be made meanwhile: each is judged by what it changed.
func (g *group) kept(m kept) {
	a := m.a
	g.applying, g.owed = nil, nil
	defer g.settle()
	if m.unkept != "" {
		g.t.sys.Log.Error("the config is in force, but not on disk: this is tried again", "err", m.unkept)
		if m.owes {
			g.owed = m.over
		}
	}
	a.req.Reply(a.answer(m.outcome))
	if a.back || len(config.Diff(a.good, a.next)) == 0 {
		return
	}
	for i, t := range g.trials {
		if len(config.Diff(t.good, a.next)) == 0 { // somebody has gone back to it
			g.trials = g.trials[:i]
			return
		}
	}
	g.trials = append(g.trials, a)
	g.after(g.t.budget(), verdict{a})
}

// settle is due when the config may have nothing to prove any more.
type settle struct {
	first bool // the one that this life of the root started with has had its time
}

// settle says so of the config in force, unless it may still go back to another, or has to after a restart.
func (g *group) settle() {
	switch {
	case g.fresh || len(g.trials) > 0 || g.owed != nil || g.phase == draining:
	case g.applying != nil:
		g.after(time.Second, settle{})
	default:
		cfg := g.t.Config()
		g.t.sys.Settle(func(path string) proto.Message {
			if n := cfg.Find(path); n != nil {
				return n.Config
			}
			return nil
		})
		if g.t.opts.Settled != nil {
			g.t.opts.Settled(cfg)
		}
	}
}

// budget is how long a new config has to get healthy.
func (t *Tree) budget() time.Duration {
	if n := t.Config().Find("config"); n != nil {
		if c, ok := t.configOf(n).(*configv1.Config); ok && c.Budget.AsDuration() > 0 {
			return c.Budget.AsDuration()
		}
	}
	return 30 * time.Second
}

// judgeConfig brings the config before a change back if the change did harm. Later
// ones, which were made on top of it, go with it; earlier ones stay.
func (g *group) judgeConfig(a *applying) {
	i := slices.Index(g.trials, a)
	switch {
	case i < 0 || g.phase == draining:
		return
	case g.applying != nil: // the next one is being read
		g.after(time.Second, verdict{a})
		return
	}
	defer g.settle()
	later := slices.Clone(g.trials[i+1:])
	sick, open := g.t.sick(a, later)
	g.trials = append(g.trials[:i], later...)
	switch {
	case len(sick) > 0:
		g.trials = g.trials[:i]
		g.goBack(a.good, sick)
	case open: // both are judged as one
		next := later[0]
		next.good, next.before, next.all = a.good, a.before, slices.Concat(a.all, next.all)
	}
}

// goBack makes a good config the one in force again, and says so.
func (g *group) goBack(good *config.Tree, sick []string) {
	log := g.t.sys.Log
	log.Error("the new config did not get healthy: back to the last good one", "unhealthy", sick)
	back := &applying{source: g.t.opts.Source, write: true, back: true, next: good}
	back.req = actors.NewRequest(nil, func(msg any, err error) {
		word, ok := msg.(*configv1.RolledBack)
		if !ok || err != nil {
			log.Error("roll back", "err", err)
			return
		}
		log.Warn("the last good config is in force again", "version", word.Version, "restored", word.Restored,
			"file", word.File, "rejected", word.Rejected, "unhealthy", sick)
		if cell := g.t.sys.Lookup("config"); cell != nil {
			cell.Event("rolled-back", word)
		}
		if word.Unkept != "" {
			g.remindConfig()
		}
	})
	back.answer = func(o outcome) any {
		return &configv1.RolledBack{
			Version: o.version, Unhealthy: sick, File: o.file, Rejected: o.rejected, Restored: o.restored, Unkept: o.unkept,
		}
	}
	g.applying = back
	g.parsed(parsed{a: back})
}

// remindConfig has actor config see to what is not on disk.
func (g *group) remindConfig() {
	sys := g.t.sys
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := sys.Call(ctx, "config", "Keep", &configv1.KeepRequest{}); err != nil {
			sys.Log.Warn("config", "err", err)
		}
	}()
}

// standing is how an actor was before a change.
type standing struct {
	state string
	life  uint32
}

func (t *Tree) standings() map[string]standing {
	all := map[string]standing{}
	for _, c := range t.sys.Cells() {
		all[c.Path()] = standing{c.State(), c.Life()}
	}
	return all
}

// sick lists the actors that a change broke: new or changed ones that have failed
// or do not come to the end of their starts, and any in the groups it touched that
// were well before and are not now. What was still well when the next change was
// made is not its fault; open says that one that was not has been changed again, so
// that it is too early to say.
// A new unit that does not answer is no reason to go back: it may not be wired yet.
func (t *Tree) sick(a *applying, later []*applying) (sick []string, open bool) {
	touched := map[string]bool{}
	for _, c := range a.all {
		touched[parent(c.Path)] = true
		if node := nodeOf(c); node.Kind == "" { // what happens to a group happens to all it holds
			walk(node, func(n *config.Node) { touched[pathOf(n)] = true })
		}
	}
	for _, c := range t.sys.Cells() {
		path := c.Path()
		if !touched[parent(path)] || c.Kind().Name == groupKind.Name {
			continue
		}
		cause := ailing(c, a.before[path])
		if cause == "" {
			continue
		}
		if len(later) > 0 {
			was, there := later[0].before[path]
			switch {
			case !there || was.well(c.State()):
				continue
			case slices.ContainsFunc(later, func(l *applying) bool { return l.changes(path) }):
				open = true
				continue
			}
		}
		sick = append(sick, path+": "+cause)
	}
	slices.Sort(sick)
	return sick, open
}

// ailing is what c suffers from since it had this standing; empty: nothing.
func ailing(c *actors.Cell, before standing) string {
	state, cause := c.State(), c.Health().Cause
	failed := state == actors.Bad || state == actors.Quarantined
	if state == actors.Starting && c.Life() > before.life+1 {
		failed, cause = true, "still starting, again and again"
	}
	if failed && before.state != actors.Bad && before.state != actors.Quarantined ||
		before.state == actors.OK && state == actors.Unreachable {
		return cmp.Or(cause, state)
	}
	return ""
}

// well says that an actor which is now in a worse state was not so yet.
func (s standing) well(now string) bool {
	return s.state == actors.OK || now != actors.Unreachable && (s.state == actors.Degraded || s.state == actors.Unreachable)
}

// changes says that the change concerns the actor at path, or a group above it.
func (a *applying) changes(path string) bool {
	return slices.ContainsFunc(a.all, func(c config.Change) bool {
		return c.Path == path || c.Path != "" && strings.HasPrefix(path, c.Path+"/")
	})
}
