package supervisor

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// Config is the config in force.
func (t *Tree) Config() *config.Tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.config
}

// file is the config file's name; empty: there is none.
func (t *Tree) file() string {
	if cfg := t.Config(); cfg != nil {
		return cfg.File
	}
	return ""
}

// expect makes cfg what groups and actors start with from now on.
func (t *Tree) expect(cfg *config.Tree) {
	nodes := map[string]*config.Node{}
	cfg.Walk(func(n *config.Node) { nodes[pathOf(n)] = n })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes = nodes
}

// adopt makes cfg the config in force.
func (t *Tree) adopt(cfg *config.Tree) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config = cfg
}

// current is n as the config has it now: the tree may have changed since.
func (t *Tree) current(n *config.Node) *config.Node {
	if now := t.nodeAt(pathOf(n)); now != nil && now.Kind == n.Kind {
		return now
	}
	return n
}

func (t *Tree) nodeAt(path string) *config.Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[path]
}

// configOf is the config of a node with what UpdateConfig has changed in it.
func (t *Tree) configOf(n *config.Node) proto.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u, ok := t.updates[pathOf(n)]; ok {
		return u.config
	}
	return n.Config
}

// update is a config that UpdateConfig has changed.
type update struct {
	written proto.Message // without what files that it names have put into it
	config  proto.Message
}

// writtenAt is the config of the actor or group at path without what files that it
// names have put into it; is, if nothing else is known.
func (t *Tree) writtenAt(path string, is proto.Message) proto.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u, ok := t.updates[path]; ok {
		return u.written
	}
	if n := t.nodes[path]; n != nil && n.Written != nil {
		return n.Written
	}
	return is
}

// update notes that UpdateConfig has changed a config; the zero value: the file counts again.
func (t *Tree) update(path string, u update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u == (update{}) {
		delete(t.updates, path)
		return
	}
	t.updates[path] = u
}

// record returns the memory of the group at path.
func (t *Tree) record(path string) *record {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.records[path]
	if r == nil {
		r = &record{}
		t.records[path] = r
	}
	return r
}

// keep puts a history into a memory that most groups never need.
func keep(all *map[string]ladder.History, path string, h ladder.History) {
	if *all == nil {
		*all = map[string]ladder.History{}
	}
	(*all)[path] = h
}

// lifeline makes the one of a new life of the group at path.
func (t *Tree) lifeline(path string) *lifeline {
	l := &lifeline{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines[path] = l
	return l
}

// cut ends the life of the group at path, if one lives there.
func (t *Tree) cut(path string) {
	t.mu.Lock()
	l := t.lines[path]
	t.mu.Unlock()
	if l != nil {
		l.cut()
	}
}

// pardon forgets what the groups at path and below have judged.
func (t *Tree) pardon(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.records {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(t.records, p)
		}
	}
}

// forget drops all that is remembered of path, which has left the config.
func (t *Tree) forget(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.records, path)
	delete(t.lines, path)
	delete(t.power, path)
	delete(t.updates, path)
}

// powerState is what is known of the power that the actor at path owns.
func (t *Tree) powerState(path string) (s power.State, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known = t.power[path]
	return s, known
}

// setPower notes it; the zero State is not known any more.
func (t *Tree) setPower(path string, s power.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == (power.State{}) {
		delete(t.power, path)
		return
	}
	t.power[path] = s
}
