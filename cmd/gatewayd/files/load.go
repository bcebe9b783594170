// Package files is what a gateway keeps on disk: its config file, which is read and
// checked here, the history of that, and the data directory.
package files

import (
	"slices"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// Implicit are the kinds of which one actor always runs.
var Implicit = []string{"bus", "config", "drill"}

// Kinds are the actor types that a gateway can run, but for that of the bus, which every gateway has.
type Kinds []actors.Kind

// Parse reads a config text; file is for what is said about it.
func (k Kinds) Parse(file string, text []byte) (*config.Tree, config.Problems) {
	return config.Parse(file, text, k.config(), Implicit...)
}

// Load reads a config file.
func (k Kinds) Load(file string) (*config.Tree, config.Problems) {
	return config.Load(file, k.config(), Implicit...)
}

// config are all kinds as the config reader needs them.
func (k Kinds) config() []config.Kind {
	var all []config.Kind
	for _, k := range k.andBus() {
		all = append(all, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	return all
}

// andBus are these kinds and that of the bus, of which none runs.
func (k Kinds) andBus() []actors.Kind {
	return append(slices.Clone(k), supervisor.BusKind(nil, nil, nil))
}

// Refused is a config with problems: each has a line of its own.
func Refused(problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return exit.Usage("the config has %s\n%s", terminal.Counted(len(problems), "problem"), problems.Format())
}

// Count is how many groups and actors a config has.
func Count(cfg *config.Tree) (groups, actors int) {
	cfg.Walk(func(n *config.Node) {
		switch {
		case n.Kind != "":
			actors++
		case n.Path != "":
			groups++
		}
	})
	return groups, actors
}
