// Package supervisor keeps the tree of actors alive: it restarts, then power-cycles, then
// escalates. When the root has nothing left, the watchdog is no longer petted.
//
// A group is an actor that supervises children and is its own protoactor strategy, so failures are
// judged in its mailbox, one at a time, without locks. State that must survive a group's life is
// kept in the Tree. The decisions are made in the pure packages ladder and power; package watchdog
// is the last resort, and package config the tree as the operator wrote it.
//
// There are two kinds of such state. Budgets (ladder histories) below a group are reset when that
// group is restarted as a whole. Hold times are properties of hardware, so the state of its power
// is kept until its owner leaves the config. Neither survives the process. Restart loops across
// processes are broken by package watchdog, whose book is synced to disk; writing a file on each
// failure would wear the flash to remember minutes. Power that a dying process left off shows as a
// first failure of its owner, whose ladder cycles it.
package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// Root is the name of the group that holds all others.
const Root = "root"

// Options configure a Tree.
type Options struct {
	System *actors.System
	Kinds  []actors.Kind
	Source Source

	// Starve is called when the root has nothing left: the watchdog must restart the gateway.
	Starve func(path, why string)

	// Settled is called when a config has passed its probation and is on disk: what is not in it is
	// gone for good. It must not block. It may be nil.
	Settled func(*config.Tree)

	// Held returns how long the watchdog is still held back from another restart because of a
	// recent one; nil: it never is.
	Held func() time.Duration

	// SafeMode starts only the actors directly below the root; groups stay stopped.
	SafeMode bool

	// Rand spreads delays; default math/rand.
	Rand func() float64
}

// Tree is the supervision tree and the state that must survive any group in it.
type Tree struct {
	opts  Options
	sys   *actors.System
	kinds map[string]*actors.Kind
	epoch time.Time

	rounds rounds

	mu      sync.Mutex
	config  *config.Tree
	nodes   map[string]*config.Node // of config, or of the one about to come into force
	updates map[string]update       // configs changed by UpdateConfig since
	records map[string]*record
	lines   map[string]*lifeline   // of each running group
	power   map[string]power.State // by path of its owner
	root    *actor.PID
	done    chan struct{}
}

// record is a group's memory across its lives, by path of a child.
type record struct {
	children map[string]ladder.History
	cycles   map[string]ladder.History // of the power that a child owns
}

// New returns a tree that has not started.
func New(o Options) *Tree {
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	t := &Tree{
		opts: o, sys: o.System, kinds: map[string]*actors.Kind{}, epoch: time.Now(), updates: map[string]update{},
		records: map[string]*record{}, lines: map[string]*lifeline{}, power: map[string]power.State{}, done: make(chan struct{}),
	}
	t.rounds.root = o.System.Runtime().Root
	for i := range o.Kinds {
		t.kinds[o.Kinds[i].Name] = &o.Kinds[i]
	}
	return t
}

var groupKind = actors.Define(actors.Kind{
	Name: "group", Doc: "Supervises its children.",
	Publishes: []actors.Leaf{
		{Class: bus.Event, Leaf: "healed", Message: &actorv1.Healed{}},
		{Class: bus.State, Leaf: "boot", Message: &gatewayv1.Boot{}},
	},
}, func(*gatewayv1.Group) actors.Actor { return nil })

// Start starts the tree with cfg. Groups and actors start in the order of the file; Start does not
// wait for them.
func (t *Tree) Start(cfg *config.Tree) error {
	if err := startable(cfg); err != nil {
		return err
	}
	t.expect(cfg)
	t.adopt(cfg)
	cell, err := t.cell(Root, cfg.Root)
	if err != nil {
		return err
	}
	pid, err := t.sys.Runtime().Root.SpawnNamed(t.props(cfg.Root, cell), t.sys.SpawnName(Root))
	if err != nil {
		return fmt.Errorf("start the root: %w", err)
	}
	t.mu.Lock()
	t.root = pid
	t.mu.Unlock()
	cell.Bind(pid)
	return nil
}

// startable reports errors that a config check without the tree cannot know.
func startable(cfg *config.Tree) error {
	if cfg.Find(Root) != nil {
		return fmt.Errorf("line %d: %s is the name of the group that holds all others: choose another", cfg.Find(Root).Line, Root)
	}
	return nil
}

// Stop stops everything in reverse order, each child within its deadline. It returns when all have
// stopped or ctx has ended.
func (t *Tree) Stop(ctx context.Context) error {
	t.mu.Lock()
	root := t.root
	t.mu.Unlock()
	if root == nil {
		return nil
	}
	t.sys.Runtime().Root.Send(root, drain{})
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("not everything has stopped: %w", ctx.Err())
	}
}

func (t *Tree) now() time.Duration { return time.Since(t.epoch) }

// cell returns or creates the cell of a node.
func (t *Tree) cell(path string, n *config.Node) (*actors.Cell, error) {
	if c := t.sys.Lookup(path); c != nil {
		return c, nil
	}
	return t.sys.NewCell(path, t.kindOf(n), n.Config)
}

func (t *Tree) kindOf(n *config.Node) *actors.Kind {
	if n.Kind != "" {
		return t.kinds[n.Kind]
	}
	return &groupKind
}

func (t *Tree) props(n *config.Node, cell *actors.Cell) *actor.Props {
	if n.Kind != "" {
		return cell.Props()
	}
	return t.sys.Props(func() actor.Actor { return newGroup(t, n, cell) })
}

func pathOf(n *config.Node) string {
	if n.Path == "" {
		return Root
	}
	return n.Path
}

func walk(n *config.Node, visit func(*config.Node)) {
	visit(n)
	for _, c := range n.Children {
		walk(c, visit)
	}
}

// parent returns the path of the group that holds path.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return Root
}
