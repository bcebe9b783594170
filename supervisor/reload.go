package supervisor

import (
	"fmt"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/bus"
	configv1 "gatewayd/schemas/config/v1"
	"gatewayd/supervisor/config"
)

// Source is where the config comes from and where its versions are kept.
type Source interface {
	// Read is the text of the config file.
	Read() ([]byte, error)
	// Parse checks a text.
	Parse(text []byte) (*config.Tree, config.Problems)
	// Write makes a text the config file.
	Write(text []byte) error
	// Keep adds a text to the history and returns its version.
	Keep(text []byte) (version uint64, err error)
	// Versions is the history, newest first.
	Versions() ([]*configv1.Version, error)
}

// applying is a config change under way; the root has one at a time.
type applying struct {
	req     *actors.Request
	source  Source
	write   bool // the text is not from the file: write it there
	old     *config.Tree
	next    *config.Tree
	todo    []config.Change
	all     []config.Change
	before  map[string]string // health before the change
	answer  func(version uint64, changes []*configv1.Change, problems []*configv1.Problem) any
	started time.Time
}

type (
	// parsed is a text read and checked outside the mailbox.
	parsed struct {
		a        *applying
		problems config.Problems
		err      error
	}
	// change asks a group to change one of its children.
	change struct {
		config.Change
		done func()
	}
	// acked is a change that has been made.
	acked struct{ a *applying }
	// judgeConfig is the end of the time in which a change had to get healthy.
	judgeConfig struct{ a *applying }
)

// serveConfig answers for actor config, which cannot see the tree.
func (g *group) serveConfig(r *actors.Request) {
	source := g.t.opts.Source
	if g.path != Root || source == nil {
		r.Refuse(bus.Errorf(bus.Unimplemented, "%s has no config file", g.path))
		return
	}
	a := &applying{req: r, source: source}
	read := source.Read
	switch m := r.Message().(type) {
	case *configv1.GetRequest:
		g.getConfig(r)
		return
	case *configv1.HistoryRequest:
		versions, err := source.Versions()
		answer(r, &configv1.HistoryResponse{Versions: versions}, err)
		return
	case *configv1.CheckRequest:
		g.checkConfig(r, []byte(m.Toml))
		return
	case *configv1.ApplyRequest:
		a.write, read = true, given(m.Toml)
		a.answer = func(v uint64, c []*configv1.Change, p []*configv1.Problem) any {
			return &configv1.ApplyResponse{Version: v, Changes: c, Problems: p}
		}
	case *configv1.ReloadRequest:
		a.answer = func(v uint64, c []*configv1.Change, p []*configv1.Problem) any {
			return &configv1.ReloadResponse{Version: v, Changes: c, Problems: p}
		}
	case *configv1.RollbackRequest:
		a.write = true
		read = func() ([]byte, error) { return earlier(source, m.Version) }
		a.answer = func(v uint64, c []*configv1.Change, _ []*configv1.Problem) any {
			return &configv1.RollbackResponse{Version: v, Changes: c}
		}
	}
	g.apply(a, read)
}

func given(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// earlier is the text of a version; 0 is the one before the newest.
func earlier(source Source, version uint64) ([]byte, error) {
	versions, err := source.Versions()
	if err != nil {
		return nil, err
	}
	for i, v := range versions {
		if v.Version == version || version == 0 && i == 1 {
			return []byte(v.Toml), nil
		}
	}
	return nil, bus.Errorf(bus.NotFound, "the history has no such version")
}

func (g *group) getConfig(r *actors.Request) {
	cfg := g.t.Config()
	versions, err := g.t.opts.Source.Versions()
	resp := &configv1.GetResponse{Toml: string(cfg.Text)}
	if len(versions) > 0 {
		resp.Version = versions[0].Version
	}
	answer(r, resp, err)
}

func (g *group) checkConfig(r *actors.Request, text []byte) {
	old := g.t.Config()
	go func() {
		next, problems := g.t.opts.Source.Parse(text)
		resp := &configv1.CheckResponse{Problems: problems.Proto()}
		if len(problems) == 0 {
			resp.Changes = protoChanges(config.Diff(old, next))
		}
		r.Reply(resp)
	}()
}

// apply reads and checks a text outside the mailbox.
func (g *group) apply(a *applying, read func() ([]byte, error)) {
	if g.applying != nil {
		a.req.Refuse(bus.Errorf(bus.Aborted, "another config change is under way"))
		return
	}
	g.applying = a
	a.old = g.t.Config()
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	go func() {
		text, err := read()
		var problems config.Problems
		if err == nil {
			a.next, problems = a.source.Parse(text)
		}
		root.Send(self, parsed{a, problems, err})
	}()
}

func (g *group) parsed(m parsed) {
	a := m.a
	switch {
	case m.err != nil:
		g.applying = nil
		a.req.Refuse(bus.Errorf(bus.Unavailable, "read the config: %s", m.err))
		return
	case len(m.problems) > 0:
		g.applying = nil
		a.req.Reply(a.answer(0, nil, m.problems.Proto()))
		return
	}
	a.todo = config.Diff(a.old, a.next)
	if slices.ContainsFunc(a.todo, func(c config.Change) bool { return c.Path == "" && c.Action == config.Restart }) {
		g.applying = nil
		a.req.Refuse(bus.Errorf(bus.FailedPrecondition, "the name of the gateway is in every subject: restart the daemon to change it"))
		return
	}
	a.all = a.todo
	a.before = g.t.states()
	a.started = time.Now()
	g.next(a)
}

func (t *Tree) states() map[string]string {
	states := map[string]string{}
	for _, c := range t.sys.Cells() {
		states[c.Path()] = c.State()
	}
	return states
}

// next makes the next change, in the group it belongs to.
func (g *group) next(a *applying) {
	if len(a.todo) == 0 {
		g.applied(a)
		return
	}
	c := a.todo[0]
	a.todo = a.todo[1:]
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	m := change{c, func() { root.Send(self, acked{a}) }}
	owner := parent(c.Path)
	if node := cmpNode(c); node.Kind == "" && c.Action == config.Reconfigure {
		owner = pathOf(node)
	}
	cell := g.t.sys.Lookup(owner)
	if cell == nil || cell.PID() == nil {
		g.t.sys.Log.Error("config change has no group", "path", c.Path, "group", owner)
		g.next(a)
		return
	}
	root.Send(cell.PID(), m)
}

func cmpNode(c config.Change) *config.Node {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

func (g *group) acked(m acked) {
	if g.applying == m.a {
		g.next(m.a)
	}
}

// change carries out one change in this group.
func (g *group) change(m change) {
	if pathOf(cmpNode(m.Change)) == g.path {
		g.cell.SetConfig(m.New.Config)
		g.configure(m.New.Config)
		g.node = m.New
		m.done()
		return
	}
	c := g.child(m.Path)
	switch {
	case m.Action == config.Start && c == nil:
		g.start(m.New, m.done)
	case m.Action == config.Stop && c != nil:
		g.remove(c, m.done)
	case m.Action == config.Restart && c != nil:
		g.remove(c, func() { g.start(m.New, m.done) })
	case m.Action == config.Reconfigure && c != nil:
		c.node = m.New
		delete(g.rec.children, c.path) // another config deserves another chance
		g.reconfigure(c, m.New.Config)
		m.done()
	default:
		m.done()
	}
}

func (g *group) start(n *config.Node, done func()) {
	c := g.adopt(n)
	if g.phase != draining {
		g.spawn(c)
	}
	done()
}

// applied makes the new config the one in force and gives it time to prove itself.
func (g *group) applied(a *applying) {
	t := g.t
	t.mu.Lock()
	t.config = a.next
	t.mu.Unlock()
	if a.write {
		if err := a.source.Write(a.next.Text); err != nil {
			t.sys.Log.Error("the config is in force but could not be written to its file", "err", err)
		}
	}
	version, err := a.source.Keep(a.next.Text)
	if err != nil {
		t.sys.Log.Error("config history", "err", err)
	}
	a.req.Reply(a.answer(version, protoChanges(a.all), nil))
	if a.req.Message() == nil || len(a.all) == 0 {
		g.applying = nil
		return
	}
	g.after(t.budget(), judgeConfig{a})
}

// budget is how long a new config has to get healthy.
func (t *Tree) budget() time.Duration {
	if n := t.Config().Find("config"); n != nil {
		if c, ok := n.Config.(*configv1.Config); ok {
			return c.Budget.AsDuration()
		}
	}
	return 30 * time.Second
}

// judgeConfig brings the last good config back if the change did harm.
func (g *group) judgeConfig(m judgeConfig) {
	a := m.a
	if g.applying != a {
		return
	}
	g.applying = nil
	sick := g.t.sick(a)
	if len(sick) == 0 {
		return
	}
	cell := g.t.sys.Lookup("config")
	back := &applying{source: a.source, write: true}
	back.req = actors.NewRequest(nil, func(msg any, err error) {
		if err != nil {
			g.t.sys.Log.Error("roll back", "err", err)
		} else if cell != nil {
			cell.Event("rolled-back", msg.(*configv1.RolledBack))
		}
	})
	back.answer = func(v uint64, _ []*configv1.Change, _ []*configv1.Problem) any {
		return &configv1.RolledBack{Version: v, Unhealthy: sick}
	}
	g.t.sys.Log.Error("the new config did not get healthy: back to the last good one", "unhealthy", sick)
	g.apply(back, given(string(a.old.Text)))
}

// sick lists the actors that the change broke: new or changed ones that have
// failed, and any in the groups it touched that were well before and are not now.
// A new unit that does not answer is no reason to go back: it may not be wired yet.
func (t *Tree) sick(a *applying) []string {
	touched := map[string]bool{}
	for _, c := range a.all {
		touched[parent(c.Path)] = true
	}
	var sick []string
	for _, c := range t.sys.Cells() {
		path, state := c.Path(), c.State()
		if !touched[parent(path)] || c.Kind().Name == groupKind.Name {
			continue
		}
		failed := state == actors.Bad || state == actors.Quarantined
		worse := a.before[path] == actors.OK && state == actors.Unreachable
		if failed && a.before[path] != state || worse {
			sick = append(sick, fmt.Sprintf("%s: %s", path, c.Health().Cause))
		}
	}
	slices.Sort(sick)
	return sick
}

func protoChanges(all []config.Change) []*configv1.Change {
	var out []*configv1.Change
	for _, c := range all {
		out = append(out, &configv1.Change{Path: c.Path, Action: string(c.Action)})
	}
	return out
}
