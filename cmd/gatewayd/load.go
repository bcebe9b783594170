package main

import (
	"slices"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// implicit are the kinds of which one actor always runs.
var implicit = []string{"bus", "config", "drill"}

// kindList are the actor types that a gateway can run, but for that of the bus, which every gateway has.
type kindList []actors.Kind

// parse reads a config text; file is for what is said about it.
func (k kindList) parse(file string, text []byte) (*config.Tree, config.Problems) {
	return config.Parse(file, text, k.config(), implicit...)
}

// load reads a config file.
func (k kindList) load(file string) (*config.Tree, config.Problems) {
	return config.Load(file, k.config(), implicit...)
}

// config are all kinds as the config reader needs them.
func (k kindList) config() []config.Kind {
	var all []config.Kind
	for _, k := range k.andBus() {
		all = append(all, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	return all
}

// andBus are these kinds and that of the bus, of which none runs.
func (k kindList) andBus() []actors.Kind {
	return append(slices.Clone(k), supervisor.BusKind(nil, nil, nil))
}

// refused is a config with problems: each has a line of its own.
func refused(problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return exit.Usage("the config has %s\n%s", terminal.Counted(len(problems), "problem"), problems.Format())
}

func count(cfg *config.Tree) (groups, actors int) {
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
