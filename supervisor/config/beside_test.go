package config_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor/config"
)

const twoUnits = `gateway = "demo"
[link]
kind = "tcp-link"
address = "plc"
[a]
kind = "modbus-unit"
link = "link"
unit = 1
[b]
kind = "modbus-unit"
link = "link"
unit = 1
`

// twins finds units of the same number. It stands for any kind's Beside.
func twins(all []schemas.Actor) []schemas.Finding {
	first := map[uint32]string{}
	var found []schemas.Finding
	for _, a := range all {
		u, ok := a.Config.(*modbusv1.Unit)
		if !ok {
			continue
		}
		if other := first[u.Unit]; other != "" {
			found = append(found, schemas.Finding{
				Violation: schemas.Violation{Field: "unit", Message: "is that of " + other, Other: "unit", Warning: u.Tolerate == 7},
				Actor:     a.Path, Beside: other,
			})
		}
		first[u.Unit] = a.Path
	}
	return found
}

func withTwins() []config.Kind {
	all := kinds()
	i := slices.IndexFunc(all, func(k config.Kind) bool { return k.Name == "modbus-unit" })
	all[i].Beside = twins
	all[i].Check = func(m proto.Message) []schemas.Violation {
		if u := m.(*modbusv1.Unit); len(u.Points) > 0 && u.Points[0].Area == "coil" && u.Points[0].Type != "" {
			return []schemas.Violation{{Field: "points[0].type", Message: "is for registers"}}
		}
		return nil
	}
	return all
}

func TestBeside(t *testing.T) {
	const points = "points = [{ name = \"x\", area = \"coil\", type = \"int16\", address = "
	for name, c := range map[string]struct{ text, want string }{
		"an error": {twoUnits, `plant.toml:12: b.unit: is that of a (line 8)`},
		"not of a field that is wrong": {strings.Replace(twoUnits, "unit = 1\n[b]", "unit = 999\n[b]", 1) + "tolerate = 0\n",
			"plant.toml:8: a.unit: 999 is out of range: 0 to 255\nplant.toml:13: b.tolerate: 0 is out of range: 1 to 100"},
		"beside what is wrong": {twoUnits + "tolerate = 0\n",
			"plant.toml:12: b.unit: is that of a (line 8)\nplant.toml:13: b.tolerate: 0 is out of range: 1 to 100"},
		"the kind's own beside what is wrong": {strings.Replace(twoUnits, "unit = 1\n[b]", "unit = 2\n[b]", 1) + "tolerate = 0\n" + points + "1 }]\n",
			"plant.toml:13: b.tolerate: 0 is out of range: 1 to 100\nplant.toml:14: b.points[0].type: is for registers"},
		"not of an element that is wrong": {strings.Replace(twoUnits, "unit = 1\n[b]", "unit = 2\n[b]", 1) + points + "70000 }]\n",
			"plant.toml:13: b.points[0].address: 70000 is out of range: 0 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			tree, problems := config.Parse("plant.toml", []byte(c.text), withTwins(), implicit()...)
			if got := problems.Format(); got != c.want || tree != nil {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A warning alone does not prevent a start.
func TestWarning(t *testing.T) {
	tree, problems := config.Parse("plant.toml", []byte(twoUnits+"tolerate = 7\n"), withTwins(), implicit()...)
	if len(problems) > 0 || tree == nil {
		t.Fatal(problems)
	}
	if got := tree.Warnings.Format(); got != "plant.toml:12: b.unit: warning: is that of a (line 8)" {
		t.Error(got)
	}
	_, problems = config.Parse("plant.toml", []byte(twoUnits+"tolerate = 7\nevery = 7\n"), withTwins(), implicit()...)
	if len(problems) != 2 {
		t.Errorf("got\n%s", problems.Format())
	}
}
