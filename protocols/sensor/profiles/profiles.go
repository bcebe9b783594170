// Package profiles contains the profiles of common devices that publish by MQTT: one TOML file
// each, in the form of the schema mqtt.v1.DeviceProfile. The package itself reads only the line by
// which a device is recognised.
package profiles

import (
	"embed"
	"encoding/json"
	"slices"
	"strings"

	"gatewayd/protocols/sensor"
)

// Files are the profiles, each as <name>.toml.
//
//go:embed *.toml
var Files embed.FS

// Names returns the names of the profiles in alphabetical order.
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

// Shapes returns how the devices of all profiles are recognised. Each file contains this in one
// line, `identify = ["…", "…"]`, whose list is valid JSON as well.
func Shapes() []sensor.Shape {
	var all []sensor.Shape
	for _, name := range Names() {
		text, err := Files.ReadFile(name + ".toml")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			key, list, _ := strings.Cut(line, "=")
			s := sensor.Shape{Profile: name}
			if strings.TrimSpace(key) == "identify" && json.Unmarshal([]byte(list), &s.Lines) == nil && len(s.Lines) > 0 {
				all = append(all, s)
			}
		}
	}
	return all
}
