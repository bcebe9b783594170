package modbusunit

import (
	"path"
	"testing"

	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/profiles"
	modbusv1 "gatewayd/schemas/modbus/v1"
	reader "gatewayd/supervisor/config"
)

// unitsOf reads a config of two units with these settings.
func unitsOf(t *testing.T, settings string) (a, b *modbusv1.Unit) {
	t.Helper()
	kinds := []reader.Kind{
		{Name: "modbus-unit", Config: Kind.ConfigType(), Complete: Kind.Complete, Check: Kind.Check},
		{Name: "tcp-link", Config: (&modbusv1.TcpLink{}).ProtoReflect().Type(), Services: []string{"modbus.v1.LinkService"}},
	}
	const unit = "kind = \"modbus-unit\"\nlink = \"link\"\nunit = 1\n"
	text := "gateway = \"demo\"\n[link]\nkind = \"tcp-link\"\naddress = \"127.0.0.1:1\"\n[a]\n" + unit + settings + "[b]\n" + unit + settings
	tree, problems := reader.Parse(path.Join(t.TempDir(), "plant.toml"), []byte(text), kinds)
	if problems != nil {
		t.Fatal(problems)
	}
	return tree.Find("a").Config.(*modbusv1.Unit), tree.Find("b").Config.(*modbusv1.Unit)
}

// Units with equal configs share one table, also if a profile is involved.
func TestUnitsShareTables(t *testing.T) {
	for _, settings := range []string{
		"profile = \"sunspec-inverter\"\nreport = { on = \"change\" }\n",
		"points = [{ name = \"a\", address = 1 }]\nderived = [{ name = \"d\", expression = \"a * 2\" }]\nholes = [\"holding 7\"]\n",
	} {
		a, b := unitsOf(t, settings)
		one := &unit{shared: &shared{}}
		first, err := one.layout(a, "a", nil)
		second, err2 := one.layout(b, "b", nil)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if len(first) != 1 || len(second) != 1 || first[0].table != second[0].table {
			t.Errorf("two tables for %s", settings)
		}
	}
}

// The profiles' points are read with at most 5 % more requests than the best division into ranges,
// found by trying all divisions of twelve points at a time.
func TestProfilesAreReadByFewRequests(t *testing.T) {
	for _, name := range profiles.Names() {
		cfg, _ := unitsOf(t, "profile = \""+name+"\"\n")
		recipes, err := recipesOf(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recipes {
			whole, err := newTable(r.recipe)
			if err != nil {
				t.Fatal(err)
			}
			var sorted []points.Point // sorted by address
			for _, read := range whole.reads {
				for _, ref := range read.Points {
					sorted = append(sorted, whole.points[ref.Index])
				}
			}
			for len(sorted) > 0 {
				some := sorted[:min(12, len(sorted))]
				sorted = sorted[len(some):]
				reads, err := points.Plan(some, r.limits)
				if best := fewest(some, r.limits); err != nil || float64(len(reads)) > 1.05*float64(best) {
					t.Errorf("%s: %d requests for %d points, %d do: %v", name, len(reads), len(some), best, err)
				}
			}
		}
	}
}

// fewest tries all divisions.
func fewest(all []points.Point, l points.Limits) int {
	best := len(all)
	for cuts := range 1 << (len(all) - 1) {
		n, from, ok := 0, 0, true
		for i := range all {
			if i == len(all)-1 || cuts>>i&1 == 1 {
				ok = ok && bears(all[from:i+1], l)
				n, from = n+1, i+1
			}
		}
		if ok {
			best = min(best, n)
		}
	}
	return best
}

func bears(run []points.Point, l points.Limits) bool {
	end := int(run[0].Address)
	for _, p := range run {
		if p.Area != run[0].Area || int(p.Address)-end > l.Gap || l.OnePerPoint && (p.Address != run[0].Address || p.Registers() != run[0].Registers()) {
			return false
		}
		end = max(end, int(p.Address)+p.Registers())
	}
	return end-int(run[0].Address) <= l.MaxRegisters
}
