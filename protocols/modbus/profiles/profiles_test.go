package profiles_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"gatewayd/protocols/modbus/profiles"
)

// Each profile states how its devices are recognised, or why they cannot be; no two profiles state
// the same.
func TestMarks(t *testing.T) {
	marked := map[string]string{}
	for _, name := range profiles.Names() {
		text, err := profiles.Files.ReadFile(name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Identify []map[string]any }
		if err := toml.Unmarshal(text, &p); err != nil {
			t.Fatal(name, err)
		}
		if why := strings.Contains(string(text), "\n# No marks: "); why != (len(p.Identify) == 0) {
			t.Errorf("%s has %d marks; that it has none is said: %v", name, len(p.Identify), why)
		}
		for _, mark := range p.Identify {
			key := fmt.Sprint(mark)
			if other := marked[key]; other != "" {
				t.Errorf("%s and %s have the mark %s", name, other, key)
			}
			marked[key] = name
		}
	}
}
