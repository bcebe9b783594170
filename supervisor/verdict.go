package supervisor

import (
	"slices"
	"time"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
	"gatewayd/supervisor/config"
)

// verdict is due at the end of the time in which a change has to get healthy.
type verdict struct{ a *applying }

// kept answers whoever wanted the change, and gives it time to prove itself.
// Others may be made meanwhile: then all of them have to.
func (g *group) kept(m kept) {
	a := m.a
	g.applying = nil
	a.req.Reply(a.answer(m.version, protoChanges(a.all), nil))
	if a.back || len(config.Diff(a.good, a.next)) == 0 {
		return
	}
	g.trial = a
	g.after(g.t.budget(), verdict{a})
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

// judgeConfig brings the last good config back if the change did harm.
func (g *group) judgeConfig(a *applying) {
	switch {
	case g.trial != a || g.phase == draining:
		return
	case g.applying != nil: // the next one is being read
		g.after(time.Second, verdict{a})
		return
	}
	g.trial = nil
	sick := g.t.sick(a)
	if len(sick) == 0 {
		return
	}
	g.t.sys.Log.Error("the new config did not get healthy: back to the last good one", "unhealthy", sick)
	back := &applying{source: a.source, write: true, back: true, next: a.good}
	back.req = actors.NewRequest(nil, func(msg any, err error) {
		cell := g.t.sys.Lookup("config")
		if word, ok := msg.(*configv1.RolledBack); ok && err == nil && cell != nil {
			cell.Event("rolled-back", word)
		} else if err != nil {
			g.t.sys.Log.Error("roll back", "err", err)
		}
	})
	back.answer = func(v uint64, _ []*configv1.Change, _ []*configv1.Problem) any {
		return &configv1.RolledBack{Version: v, Unhealthy: sick}
	}
	g.applying = back
	g.parsed(parsed{a: back})
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

// sick lists the actors that the change broke: new or changed ones that have
// failed or do not come to the end of their starts, and any in the groups it
// touched that were well before and are not now.
// A new unit that does not answer is no reason to go back: it may not be wired yet.
func (t *Tree) sick(a *applying) []string {
	touched := map[string]bool{}
	for _, c := range config.Diff(a.good, a.next) {
		touched[parent(c.Path)] = true
		if node := nodeOf(c); node.Kind == "" { // what happens to a group happens to all it holds
			walk(node, func(n *config.Node) { touched[pathOf(n)] = true })
		}
	}
	var sick []string
	for _, c := range t.sys.Cells() {
		path, state := c.Path(), c.State()
		if !touched[parent(path)] || c.Kind().Name == groupKind.Name {
			continue
		}
		before, cause := a.before[path], c.Health().Cause
		failed := state == actors.Bad || state == actors.Quarantined
		worse := before.state == actors.OK && state == actors.Unreachable
		again := state == actors.Starting && c.Life() > before.life+1
		if again {
			failed, cause = true, "still starting, again and again"
		}
		if failed && before.state != actors.Bad && before.state != actors.Quarantined || worse {
			sick = append(sick, path+": "+cause)
		}
	}
	slices.Sort(sick)
	return sick
}
