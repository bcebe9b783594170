// Package profiles holds descriptions of common Modbus devices: one TOML file each, in the form of
// the schema modbus.v1.Profile. It does not parse them.
package profiles

import (
	"embed"
	"slices"
	"strings"
)

// Files are the profiles, each as <name>.toml.
//
//go:embed *.toml
var Files embed.FS

// Names lists the profiles, in alphabetical order.
func Names() []string {
	entries, err := Files.ReadDir(".")
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	slices.Sort(names)
	return names
}
