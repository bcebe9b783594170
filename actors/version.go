package actors

import "runtime/debug"

// Version is the semantic version of the program, in the form that NATS micro tooling requires.
const Version = "0.1.0"

// Build returns Version, with the commit the program was built from if it is known.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return Version + "+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return Version
}
