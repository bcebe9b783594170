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

// verdict is due at the end of the probation of a change.
type verdict struct{ a *applying }

// kept answers the requester of the change and starts the probation. Further changes may be made
// meanwhile; each is judged by what it changed.
func (g *group) kept(m kept) {
	a := m.a
	g.applying, g.owed = nil, nil
	defer g.settle()
	if m.unkept != "" {
		g.t.sys.Log.Error("the config is in force, but could not be saved; trying again", "err", m.unkept)
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

// settle is due when the config in force may have passed its probation.
type settle struct {
	first bool // sent at the end of the probation of the config that this life of the root started with
}

// settle reports that the config in force is final, unless it may still be rolled back, or a
// restart would use another one.
func (g *group) settle() {
	switch {
	case g.fresh || len(g.trials) > 0 || g.owed != nil || g.ending:
	case g.applying != nil || g.phase == draining:
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

// budget returns how long a new config has to become healthy.
func (t *Tree) budget() time.Duration {
	if n := t.Config().Find("config"); n != nil {
		if c, ok := t.configOf(n).(*configv1.Config); ok && c.Budget.AsDuration() > 0 {
			return c.Budget.AsDuration()
		}
	}
	return 30 * time.Second
}

// judgeConfig restores the config before a change if the change did harm. Later changes, which were
// made on top of it, are undone with it; earlier ones stay.
func (g *group) judgeConfig(a *applying) {
	i := slices.Index(g.trials, a)
	switch {
	case i < 0 || g.ending:
		return
	case g.applying != nil || g.phase == draining: // the next one is being read, or all are being restarted
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

// goBack makes a good config the one in force again, and publishes that.
func (g *group) goBack(good *config.Tree, sick []string) {
	log := g.t.sys.Log
	log.Error("the new config did not become healthy: rolling back to the last good one", "unhealthy", sick)
	back := &applying{source: g.t.opts.Source, write: true, back: true, next: good}
	back.req = actors.NewRequest(nil, func(msg any, err error) {
		word, ok := msg.(*configv1.RolledBack)
		if !ok || err != nil {
			log.Error("the rollback failed", "err", err)
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

// remindConfig makes actor config retry what is not on disk.
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

// standing is the health of an actor before a change.
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

// sick returns the actors that a change broke: new or changed ones that have failed or do not
// finish starting, and actors in the groups it touched that were healthy before and are not now. An
// actor that was still healthy when the next change was made is not counted against this one. open
// reports that an unhealthy actor has been changed again, so that it is too early to decide.
//
// A new unit that does not answer is no reason for a rollback: it may not be wired yet.
func (t *Tree) sick(a *applying, later []*applying) (sick []string, open bool) {
	touched := map[string]bool{}
	for _, c := range a.all {
		touched[parent(c.Path)] = true
		if node := nodeOf(c); node.Kind == "" { // a change of a group concerns everything below it
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

// ailing returns what has been wrong with c since before; empty: nothing.
func ailing(c *actors.Cell, before standing) string {
	state, cause := c.State(), c.Health().Cause
	failed := state == actors.Bad || state == actors.Quarantined
	if state == actors.Starting && c.Life() > before.life+1 {
		failed, cause = true, "restarted repeatedly and still starting"
	}
	if failed && before.state != actors.Bad && before.state != actors.Quarantined ||
		before.state == actors.OK && state == actors.Unreachable {
		return cmp.Or(cause, state)
	}
	return ""
}

// well reports whether an actor with this standing was better off than one in the state now.
func (s standing) well(now string) bool {
	return s.state == actors.OK || now != actors.Unreachable && (s.state == actors.Degraded || s.state == actors.Unreachable)
}

// changes reports whether the change concerns the actor at path, or a group above it.
func (a *applying) changes(path string) bool {
	return slices.ContainsFunc(a.all, func(c config.Change) bool {
		return c.Path == path || c.Path != "" && strings.HasPrefix(path, c.Path+"/")
	})
}
