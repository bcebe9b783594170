package supervisor

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// Config returns the config in force.
func (t *Tree) Config() *config.Tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.config
}

// file returns the name of the config file; empty: there is none.
func (t *Tree) file() string {
	if cfg := t.Config(); cfg != nil {
		return cfg.File
	}
	return ""
}

// expect makes cfg the config that groups and actors start with from now on.
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

// current returns n as the present config has it: the tree may have changed since.
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

// configOf returns the config of a node, including changes made by UpdateConfig.
func (t *Tree) configOf(n *config.Node) proto.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u, ok := t.updates[pathOf(n)]; ok {
		return u.config
	}
	return n.Config
}

// update is a config changed by UpdateConfig.
type update struct {
	written proto.Message // without what the files that it names have contributed
	config  proto.Message
}

// writtenAt returns the config of the actor or group at path without what the files that it names
// have contributed, or is if it is not known.
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

// update records that UpdateConfig has changed a config; with the zero value the config file
// applies again.
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

// keep adds a history to a memory that most groups never need.
func keep(all *map[string]ladder.History, path string, h ladder.History) {
	if *all == nil {
		*all = map[string]ladder.History{}
	}
	(*all)[path] = h
}

// lifeline creates the lifeline of a new life of the group at path.
func (t *Tree) lifeline(path string) *lifeline {
	l := &lifeline{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines[path] = l
	return l
}

// cut ends the life of the group at path, if it is running.
func (t *Tree) cut(path string) {
	t.mu.Lock()
	l := t.lines[path]
	t.mu.Unlock()
	if l != nil {
		l.cut()
	}
}

// resetBudgets deletes the ladder histories of the groups at path and below.
func (t *Tree) resetBudgets(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.records {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(t.records, p)
		}
	}
}

// forget deletes everything recorded about path, which has left the config.
func (t *Tree) forget(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.records, path)
	delete(t.lines, path)
	delete(t.power, path)
	delete(t.updates, path)
}

// powerState returns the state of the power that the actor at path owns.
func (t *Tree) powerState(path string) (s power.State, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known = t.power[path]
	return s, known
}

// setPower records the state of the power; the zero State deletes it.
func (t *Tree) setPower(path string, s power.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == (power.State{}) {
		delete(t.power, path)
		return
	}
	t.power[path] = s
}
