package mqttdevice_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbroker"
	"gatewayd/actors/mqttdevice"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/sensor"
	"gatewayd/protocols/sensor/profiles"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	reader "gatewayd/supervisor/config"
)

// parsed parses a config with a device at devicePath that has these settings.
func parsed(dir, settings string) (*mqttv1.Device, reader.Problems) {
	var kinds []reader.Kind
	for _, k := range []actors.Kind{mqttdevice.Kind, mqttbroker.Kind} {
		kinds = append(kinds, reader.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	toml := "gateway = \"demo\"\n[edge.broker]\nkind = \"mqtt-broker\"\n[field.shed]\nkind = \"mqtt-device\"\nbroker = \"edge/broker\"\n" + settings
	tree, problems := reader.Parse(filepath.Join(dir, "plant.toml"), []byte(toml), kinds)
	if tree == nil {
		return nil, problems
	}
	return tree.Find(devicePath).Config.(*mqttv1.Device), nil
}

// documented is what a device publishes according to its vendor's documentation, and what it means.
type documented struct {
	messages []*mqtt.Delivery
	values   map[string]string
}

func documentedOf(t *testing.T, profile string) documented {
	t.Helper()
	f, err := os.Open("testdata/profiles/" + profile + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := documented{values: map[string]string{}}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mark, rest, _ := strings.Cut(lines.Text(), " ")
		switch mark {
		case ">":
			rest, retained := strings.CutPrefix(rest, "retained ")
			topic, payload, _ := strings.Cut(rest, " ")
			d.messages = append(d.messages, &mqtt.Delivery{Topic: topic, Payload: []byte(payload), Retained: retained})
		case "=":
			name, value, _ := strings.Cut(rest, " ")
			d.values[name] = value
		}
	}
	return d
}

// Each profile interprets everything its vendor documents, and is the profile suggested for it.
func TestEveryProfileReadsWhatItsVendorDocuments(t *testing.T) {
	for _, name := range profiles.Names() {
		t.Run(name, func(t *testing.T) {
			cfg, problems := parsed(t.TempDir(), fmt.Sprintf("profile = %q\ndevice = \"shed\"\n", name))
			if problems != nil {
				t.Fatal(problems)
			}
			doc := documentedOf(t, name)
			r := actorstest.New(t)
			data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
			r.Peer("edge/broker", func(msg any) any { return msg })
			cell := r.Start(devicePath, mqttdevice.Kind, cfg)
			r.Until("it listens", func() bool { return cell.State() == actors.Unreachable })
			for _, m := range doc.messages {
				r.System.Ask(devicePath, m, func(any, error) {})
			}
			got := map[string]string{}
			for len(doc.values) > len(got) {
				m := actorstest.Next(t, data)
				for _, s := range m.Samples {
					if s.Quality == "" {
						got[s.Point] = shown(s)
					}
				}
			}
			for point, want := range doc.values {
				if got[point] != want {
					t.Errorf("%s is %s, want %s", point, got[point], want)
				}
			}
			for _, p := range cfg.Points {
				if _, ok := doc.values[p.Name]; !ok && !p.Optional {
					t.Errorf("nothing is documented of point %s", p.Name)
				}
			}
			r.Until("it is well", func() bool { return cell.State() == actors.OK })
			suggested(t, name, doc)
		})
	}
}

func suggested(t *testing.T, profile string, doc documented) {
	t.Helper()
	var seen []sensor.Seen
	for _, m := range doc.messages {
		seen = append(seen, sensor.Seen{Topic: m.Topic, Payload: m.Payload, Time: time.Now()})
	}
	found, _ := sensor.Recognise(profiles.Shapes(), seen)
	if len(found) != 1 || found[0].Profile != profile || found[0].Device != "shed" {
		t.Errorf("taken for %v", found)
	}
}

func shown(s *samplev1.Sample) string {
	switch v := s.Value.(type) {
	case *samplev1.Sample_Number:
		return sensor.Value{Kind: sensor.Number, Number: v.Number}.String()
	case *samplev1.Sample_Integer:
		return fmt.Sprint(v.Integer)
	case *samplev1.Sample_Unsigned:
		return fmt.Sprint(v.Unsigned)
	case *samplev1.Sample_Flag:
		return fmt.Sprint(v.Flag)
	case *samplev1.Sample_Text:
		return fmt.Sprintf("%q", v.Text)
	}
	return "nothing"
}

func TestAProfileOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "profiles", "mqtt"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "profiles", "mqtt", "tank.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	head := "vendor = \"Ours\"\nmodel = \"Tank 1\"\nsource = \"our own\"\n"
	own(head + "topic = \"tanks/{device}\"\npoints = [{ name = \"level\", unit = \"m\" }, { name = \"alarm\", path = \"a\", type = \"flag\" }]\n")
	cfg, problems := parsed(dir, "profile = \"tank\"\ndevice = \"7\"\npoints = [{ name = \"level\", path = \"l\", scale = 0.01 }]\n")
	if problems != nil {
		t.Fatal(problems)
	}
	if len(cfg.Points) != 2 || cfg.Points[0].Scale != 0.01 || cfg.Points[1].Name != "alarm" {
		t.Errorf("points are %v", cfg.Points)
	}
	for settings, want := range map[string]string{
		"profile = \"tank\"\n":                 "set device",
		"profile = \"tnak\"\ndevice = \"7\"\n": "there is no profiles/mqtt/tnak.toml",
		"profile = \"tasmota-enregy\"\n":       "did you mean \"tasmota-energy\"",
		"":                                     "no points: set points or profile",
		"points = [{ name = \"a\" }]\n":        "topic is missing",
		"points = [{ name = \"a\", topic = \"data/x\" }]\n":                                                           "matches topics of the gateway",
		"points = [{ name = \"a\", topic = \"t\", path = \"..\" }]\n":                                                 "a key is empty",
		"points = [{ name = \"a\", topic = \"t\", type = \"flag\", scale = 2.0 }]\n":                                  "cannot have scale",
		"points = [{ name = \"a\", topic = \"t\", on = [\"x\"] }]\n":                                                  "set type = \"flag\"",
		"points = [{ name = \"a\", topic = \"t\" }]\ncommands = [{ name = \"b\", topic = \"c\", confirm = \"x\" }]\n": "is not in points",
	} {
		if _, problems := parsed(dir, settings); !strings.Contains(problems.Format(), want) {
			t.Errorf("%s: %s, want %s", settings, problems.Format(), want)
		}
	}
	own(head + "topic = \"tanks/{device}\"\npoints = [{ name = \"level\", path = \"a[\" }]\n")
	if _, problems := parsed(dir, "profile = \"tank\"\ndevice = \"7\"\n"); !strings.Contains(problems.Format(), "tank.toml") || !strings.Contains(problems.Format(), "an index is") {
		t.Errorf("a profile that is wrong: %s", problems.Format())
	}
}
