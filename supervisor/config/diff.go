package config

import (
	"slices"

	"google.golang.org/protobuf/proto"

	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// Action is what is done to an actor or group to get from one tree to another.
type Action string

// The actions, in the order in which they are carried out.
const (
	// Stop: the node is not in the new tree. Everything below it is stopped too.
	Stop Action = "stop"
	// Reconfigure: the config of an actor or the settings of a group differ. The children of a
	// group are not affected.
	Reconfigure Action = "reconfigure"
	// Restart: the kind differs. The node is stopped with everything below it, and started from
	// New. For the root: the gateway's name differs, and with it every subject.
	Restart Action = "restart"
	// Start: the node is not in the old tree. Everything below it is started too.
	Start Action = "start"
)

// Change is what is done to one actor or group. An action on a group includes everything below it,
// so nothing below the path of a Stop, Restart or Start is listed.
type Change struct {
	Path   string
	Action Action
	// Old is nil for Start, New is nil for Stop.
	Old, New *Node
}

// Diff returns the changes from old to new: stops in the reverse order of old, then reconfigures,
// restarts and starts in the order of new. A different order of siblings is not a change.
func Diff(old, new *Tree) []Change {
	var d differ
	d.compare(old.Root, new.Root)
	slices.Reverse(d.stops)
	return slices.Concat(d.stops, d.reconfigures, d.restarts, d.starts)
}

type differ struct {
	stops, reconfigures, restarts, starts []Change
}

func (d *differ) compare(old, new *Node) {
	switch c := (Change{new.Path, Restart, old, new}); {
	case restarts(old, new):
		d.restarts = append(d.restarts, c)
		return
	case !proto.Equal(old.Config, new.Config):
		c.Action = Reconfigure
		d.reconfigures = append(d.reconfigures, c)
	}
	before := byPath(old.Children)
	after := byPath(new.Children)
	for _, o := range old.Children {
		if after[o.Path] == nil {
			d.stops = append(d.stops, Change{o.Path, Stop, o, nil})
		}
	}
	for _, n := range new.Children {
		if o := before[n.Path]; o != nil {
			d.compare(o, n)
		} else {
			d.starts = append(d.starts, Change{n.Path, Start, nil, n})
		}
	}
}

func restarts(old, new *Node) bool {
	if old.Kind != new.Kind {
		return true
	}
	if o, ok := old.Config.(*gatewayv1.Gateway); ok {
		n, same := new.Config.(*gatewayv1.Gateway)
		return !same || o.GetGateway() != n.GetGateway()
	}
	return false
}

func byPath(nodes []*Node) map[string]*Node {
	m := make(map[string]*Node, len(nodes))
	for _, n := range nodes {
		m[n.Path] = n
	}
	return m
}
