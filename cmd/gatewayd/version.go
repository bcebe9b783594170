package main

import "runtime/debug"

// microVersion is told to NATS micro tooling, which wants a semantic version.
const microVersion = "0.1.0"

// version is the module version, or the commit this was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return microVersion
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return microVersion + "+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return microVersion
}
