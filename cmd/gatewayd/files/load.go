// Package files handles the files of a gateway: the config file, which it reads and checks, the
// history of configs, and the data directory.
package files

import (
	"slices"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// Implicit lists the kinds of which one actor always runs, whether or not the config has it.
var Implicit = []string{"bus", "config", "drill"}

// Kinds are the actor types a gateway can run, except the bus, which every gateway has.
type Kinds []actors.Kind

// Parse reads the text of a config. file is its name in problems.
func (k Kinds) Parse(file string, text []byte) (*config.Tree, config.Problems) {
	return config.Parse(file, text, k.config(), Implicit...)
}

// Load reads a config file.
func (k Kinds) Load(file string) (*config.Tree, config.Problems) {
	return config.Load(file, k.config(), Implicit...)
}

// config returns all kinds in the form that the config reader takes.
func (k Kinds) config() []config.Kind {
	var all []config.Kind
	for _, k := range k.andBus() {
		all = append(all, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	return all
}

// andBus returns these kinds and that of the bus. The latter is good for reading configs only: it
// is connected to no bus.
func (k Kinds) andBus() []actors.Kind {
	return append(slices.Clone(k), supervisor.BusKind(nil, nil, nil))
}

// Refused returns the error for a config with problems, one line each; nil if there are none.
func Refused(problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	errors, warnings := problems.Split()
	return exit.Usage("the config has %s\n%s", terminal.Problems(len(errors), len(warnings)), problems.Format())
}

// Count returns the number of groups and actors in a config.
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
