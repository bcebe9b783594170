// Package profiles holds what is known of common devices that publish by MQTT: a
// file each, in TOML, in the form of the schema mqtt.v1.DeviceProfile. It reads
// none of them, but the line by which such a device is known.
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

// Shapes is how the devices of all profiles are known. Each file has that in one
// line, `identify = ["…", "…"]`, whose list is one of JSON as well.
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
