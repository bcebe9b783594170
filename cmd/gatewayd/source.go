package main

import (
	"slices"

	"gatewayd/actors"
	"gatewayd/protocols/durable"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// implicit are the kinds of which one actor always runs.
var implicit = []string{"bus", "config", "drill"}

// parse reads a config text.
func parse(file string, text []byte) (*config.Tree, config.Problems) {
	return config.Parse(file, text, configKinds(), implicit...)
}

// load reads a config file.
func load(file string) (*config.Tree, config.Problems) {
	return config.Load(file, configKinds(), implicit...)
}

// configKinds are all kinds as the config reader needs them.
func configKinds() []config.Kind {
	var all []config.Kind
	for _, k := range allKinds(nil, nil, nil) {
		all = append(all, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	return all
}

// allKinds are the kinds of kinds.go and the one that needs the running bus.
func allKinds(b supervisor.Bus, running *gatewayv1.Bus, door supervisor.BusDoor) []actors.Kind {
	return append(slices.Clone(kinds), supervisor.BusKind(b, running, door))
}

// writeFile replaces a file so that a power cut leaves the old or the new text.
func writeFile(path string, text []byte) error { return writeLike(path, path, text) }

// writeLike is writeFile with the mode of another file, if that is there.
func writeLike(like, path string, text []byte) error {
	return durable.Write(path, text, durable.ModeOf(like))
}
