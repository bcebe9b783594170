package modbusunit_test

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus/profiles"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	reader "gatewayd/supervisor/config"
)

// parsed reads a config with a unit at unitPath that has these settings.
func parsed(dir, settings string) (*modbusv1.Unit, reader.Problems) {
	var kinds []reader.Kind
	for _, k := range []actors.Kind{modbusunit.Kind, tcplink.Kind} {
		kinds = append(kinds, reader.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	toml := "gateway = \"demo\"\n[field.plant.link]\nkind = \"tcp-link\"\naddress = \"127.0.0.1:1\"\n" +
		"[field.plant.meter]\nkind = \"modbus-unit\"\nlink = \"field/plant/link\"\nunit = 7\nevery = \"50ms\"\n" + settings
	tree, problems := reader.Parse(filepath.Join(dir, "plant.toml"), []byte(toml), kinds)
	if tree == nil {
		return nil, problems
	}
	return tree.Find(unitPath).Config.(*modbusv1.Unit), nil
}

// documented is the contents of a device with a profile, and their meaning.
type documented struct {
	device *sim.Device
	values map[string]string
	labels map[string]string
}

// documentedOf reads testdata/profiles: lines "area address registers", "= point value" and "~
// point label".
func documentedOf(t *testing.T, profile string) documented {
	t.Helper()
	f, err := os.Open("testdata/profiles/" + profile + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := documented{sim.NewDevice(7), map[string]string{}, map[string]string{}}
	for _, table := range []sim.Table{sim.HoldingRegisters, sim.InputRegisters} {
		d.device.Put(table, 0, make([]uint16, 1<<16)...)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		first, rest, _ := strings.Cut(lines.Text(), " ")
		second, rest, _ := strings.Cut(rest, " ")
		switch first {
		case "=":
			d.values[second] = rest
		case "~":
			d.labels[second] = rest
		default:
			d.put(t, first, second, strings.Fields(rest))
		}
	}
	return d
}

func (d *documented) put(t *testing.T, area, address string, registers []string) {
	t.Helper()
	table := sim.HoldingRegisters
	if area == "input" {
		table = sim.InputRegisters
	}
	at, err := strconv.ParseUint(address, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	for i, hex := range registers {
		v, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		d.device.Put(table, uint16(at)+uint16(i), uint16(v))
	}
}

// Every built-in profile, used through the actor, reads the values its document gives.
func TestProfiles(t *testing.T) {
	names := profiles.Names()
	if len(names) < 12 {
		t.Fatalf("there are %d profiles", len(names))
	}
	readme, err := os.ReadFile("README.md")
	if listed := strings.Join(names, ", "); err != nil || !strings.Contains(strings.ReplaceAll(string(readme), "\n", " "), listed) {
		t.Errorf("the README does not list %s: %v", listed, err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			cfg, problems := parsed(t.TempDir(), fmt.Sprintf("profile = %q\n", name))
			if problems != nil {
				t.Fatal(problems)
			}
			want := documentedOf(t, name)
			virtually(t, func(t *testing.T) {
				r := piped(t, want.device)
				data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
				r.Start(unitPath, modbusunit.Kind, cfg)
				got := actorstest.NextWhere(t, data, good)
				if len(got.Samples) != len(want.values) {
					t.Errorf("%d samples, %d are documented", len(got.Samples), len(want.values))
				}
				for _, s := range got.Samples {
					if !means(s, want.values[s.Point]) || s.Label != want.labels[s.Point] {
						t.Errorf("%v, documented is %s %q", s, want.values[s.Point], want.labels[s.Point])
					}
				}
			})
		})
	}
}

// means reports whether a sample has the documented value. Floats are compared to seven digits.
func means(s *samplev1.Sample, written string) bool {
	if text, ok := s.Value.(*samplev1.Sample_Text); ok {
		return text.Text == written
	}
	want, err := strconv.ParseFloat(written, 64)
	return err == nil && math.Abs(s.GetNumber()-want) <= 1e-6*math.Abs(want)
}

// The unit's own config overrides its profile, and a file beside the config overrides a built-in
// profile.
func TestUnitsOverrideProfiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o755); err != nil {
		t.Fatal(err)
	}
	mine := "vendor = \"V\"\nmodel = \"M\"\nsource = \"S\"\norder = \"word-swap\"\nmax-registers = 10\ngroups = [{ name = \"slow\", every = \"1m\" }]\n" +
		"points = [\n{ name = \"a\", address = 1, type = \"uint32\", group = \"slow\" },\n{ name = \"b\", address = 3 },\n]\n"
	if err := os.WriteFile(filepath.Join(dir, "profiles", "eastron-sdm630.toml"), []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, problems := parsed(dir, "profile = \"eastron-sdm630\"\npoints = [{ name = \"b\", address = 9, group = \"slow\" }, { name = \"c\", address = 4 }]\n")
	if problems != nil {
		t.Fatal(problems)
	}
	var got []string
	for _, p := range cfg.Points {
		got = append(got, fmt.Sprint(p.Name, p.Address, p.Group, p.Order))
	}
	if s := strings.Join(got, " "); s != "b9slow c4 a1slowword-swap" || cfg.MaxRegisters != 10 || len(cfg.Groups) != 1 {
		t.Errorf("got %s of %v", s, cfg)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, test := range map[string]struct{ profile, settings, want string }{
		"unknown profile":  {"", "profile = \"eastron-sdm63\"\n", `plant.toml:10: field.plant.meter.profile: there is no profiles/eastron-sdm63.toml beside the config file, and no built-in profile of this name, did you mean "eastron-sdm630"?`},
		"unknown key":      {"vendor = \"V\"\nmodel = \"M\"\nsource = \"S\"\npoints = [\n{ name = \"a\", adress = 1 },\n]\n", "", `x.toml:5: points[0].adress: unknown key, did you mean "address"?`},
		"no source":        {"vendor = \"V\"\nmodel = \"M\"\n", "", "x.toml:1: source: is required"},
		"point in profile": {"vendor = \"V\"\nmodel = \"M\"\nsource = \"S\"\npoints = [\n{ name = \"a\", address = 1 },\n{ name = \"b\", address = 1, type = \"string\" },\n]\n", "", `x.toml:6: points[1]: point "b": length 0 of string is outside 1 to 125 registers`},
		"no such point":    {"", "points = [{ name = \"a\", address = 1 }]\n[[field.plant.meter.derived]]\nname = \"d\"\nexpression = \"a + b\"\n", `plant.toml:13: field.plant.meter.derived[0].expression: point "d": "a + b": there is no point "b" for this expression`},
		"circle":           {"", "points = [{ name = \"a\", address = 1 }]\nderived = [\n{ name = \"d\", expression = \"e\" },\n{ name = \"e\", expression = \"a + d\" }]\n", `plant.toml:12: field.plant.meter.derived[0].expression: points are computed from each other in a cycle: d from e from d`},
		"all at once": {"", "points = [{ name = \"a\", address = 1, scale-from = \"sf\" }]\nderived = [\n{ name = \"d\", expression = \"b\" },\n{ name = \"e\", expression = \"d +\" },\n]\n",
			"points[0]: point \"a\": scale-from: its scan group has no point \"sf\"\nplant.toml:12: field.plant.meter.derived[0].expression: point \"d\": \"b\": there is no point \"b\" for this expression\n" +
				"plant.toml:13: field.plant.meter.derived[1].expression: point \"e\": "},
		"truth as number": {"", "points = [{ name = \"a\", address = 1, type = \"bool\" }]\nderived = [{ name = \"d\", expression = \"a * 2\" }]\n", `"a * 2" uses true or false as a number`},
		"no scale":        {"", "points = [{ name = \"a\", address = 1, scale-from = \"sf\" }]\n", `plant.toml:10: field.plant.meter.points[0]: point "a": scale-from: its scan group has no point "sf"`},
		"wide sentinel":   {"", "points = [{ name = \"a\", address = 1, absent = [\"0x10000\"] }]\n", `absent value 0x10000 does not fit into type uint16`},
		"hole":            {"", "holes = [\"holding 5-3\"]\n", "hole 5 to 3 of area holding ends before it starts"},
		"group":           {"", "points = [{ name = \"a\", address = 1, group = \"fats\" }]\n[[field.plant.meter.groups]]\nname = \"fast\"\nevery = \"1s\"\n", `plant.toml:10: field.plant.meter.points[0].group: "fats" is not in groups`},
	} {
		t.Run(name, func(t *testing.T) {
			dir, settings := t.TempDir(), test.settings
			if test.profile != "" {
				settings = "profile = \"x\"\n"
				if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "profiles", "x.toml"), []byte(test.profile), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, problems := parsed(dir, settings); problems == nil || !strings.Contains(strings.ReplaceAll(problems.Format(), dir+"/", ""), test.want) {
				t.Errorf("got\n%s\nwant …%s…", problems.Format(), test.want)
			}
		})
	}
}

// Any profile is either refused with a line number or can be used for reading.
func FuzzProfile(f *testing.F) {
	for _, name := range profiles.Names() {
		text, err := profiles.Files.ReadFile(name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "profiles"), 0o755), os.WriteFile(filepath.Join(dir, "profiles", "x.toml"), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		cfg, problems := parsed(dir, "profile = \"x\"\n")
		if cfg == nil && len(problems) == 0 {
			t.Fatal("neither a config nor what is wrong with it")
		}
		if cfg != nil {
			if again := modbusunit.Kind.Check(cfg); len(again) > 0 {
				t.Fatal(again)
			}
		}
	})
}
