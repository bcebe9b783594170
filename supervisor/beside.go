package supervisor

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/schemas"
	"gatewayd/supervisor/config"
)

// beside reports what would be wrong between actors if the one at path had the config next, unless
// it is wrong already.
func (t *Tree) beside(path string, next proto.Message) error {
	was := map[[2]string]bool{}
	for _, f := range t.findings("", nil) {
		was[[2]string{f.Actor, f.Field}] = true
	}
	for _, f := range t.findings(path, next) {
		if !f.Warning && !was[[2]string{f.Actor, f.Field}] {
			return bus.Errorf(bus.InvalidArgument, "%s: %s", f.Actor, f.Message)
		}
	}
	return nil
}

// findings returns what the kinds find wrong between all actors, with the config next for the one
// at path.
func (t *Tree) findings(path string, next proto.Message) (found []schemas.Finding) {
	cfg := t.Config()
	if cfg == nil {
		return nil
	}
	var all []schemas.Actor
	present := map[string]bool{}
	cfg.Walk(func(n *config.Node) {
		if n.Kind == "" {
			return
		}
		a := schemas.Actor{Path: n.Path, Kind: n.Kind, Config: t.configOf(n)}
		if n.Path == path {
			a.Config = next
		}
		all = append(all, a)
		present[n.Kind] = true
	})
	for _, name := range slices.Sorted(maps.Keys(present)) {
		if k := t.kinds[name]; k != nil && k.Beside != nil {
			found = append(found, k.Beside(all)...)
		}
	}
	return found
}
