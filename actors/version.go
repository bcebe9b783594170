package actors

import "runtime/debug"

// Version is that of the program, as semantic versioning has it. NATS micro tooling wants it so.
const Version = "0.1.0"

// Build is Version, with the commit this was built from if that is known.
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
