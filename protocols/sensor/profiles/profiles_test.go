package profiles_test

import (
	"slices"
	"strings"
	"testing"

	"gatewayd/protocols/sensor"
	"gatewayd/protocols/sensor/profiles"
)

// Every profile has its identify line, in the form that Shapes reads.
func TestEveryProfileHasAShape(t *testing.T) {
	shapes := profiles.Shapes()
	for _, name := range profiles.Names() {
		i := slices.IndexFunc(shapes, func(s sensor.Shape) bool { return s.Profile == name })
		if i < 0 {
			t.Errorf("%s has no identify in one line", name)
			continue
		}
		text, _ := profiles.Files.ReadFile(name + ".toml")
		for _, line := range shapes[i].Lines {
			if !strings.Contains(line, sensor.Name) {
				t.Errorf("%s: %q has no place for the name", name, line)
			}
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: %q is not as it is in the file", name, line)
			}
		}
	}
}
