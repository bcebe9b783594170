package config_test

import (
	"fmt"
	"strings"
	"testing"

	"gatewayd/supervisor/config"
)

// BenchmarkParse reads a plant of 200 units with 20 points each.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("gateway = \"demo\"\n[field.line]\nkind = \"serial-line\"\nport = \"/dev/ttyS0\"\n")
	for u := range 200 {
		fmt.Fprintf(&text, "[field.unit-%d]\nkind = \"modbus-unit\"\nlink = \"field/line\"\nunit = %d\n", u, u)
		for p := range 20 {
			fmt.Fprintf(&text, "[[field.unit-%d.points]]\nname = \"point-%d\"\naddress = %d\ntype = \"float32\"\n", u, p, 2*p)
		}
	}
	raw := []byte(text.String())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := config.Parse("plant.toml", raw, kinds(), implicit()...); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
