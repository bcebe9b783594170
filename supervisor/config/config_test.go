package config_test

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "gatewayd/schemas/config/v1"
	drillv1 "gatewayd/schemas/drill/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	"gatewayd/supervisor/config"
)

var update = flag.Bool("update", false, "write what is found beside testdata/*.toml")

func kinds() []config.Kind {
	kind := func(name string, m proto.Message, services ...string) config.Kind {
		return config.Kind{Name: name, Config: m.ProtoReflect().Type(), Services: services}
	}
	return []config.Kind{
		kind("bus", &gatewayv1.Bus{}),
		kind("config", &configv1.Config{}, "config.v1.ConfigService"),
		kind("drill", &drillv1.Drill{}, "drill.v1.DrillService"),
		kind("erratic", &erraticv1.Erratic{}, "erratic.v1.ErraticService"),
		kind("modbus-unit", &modbusv1.Unit{}, "modbus.v1.UnitService"),
		kind("mqtt-broker", &mqttv1.Broker{}),
		kind("serial-line", &modbusv1.SerialLine{}, "modbus.v1.LinkService"),
		kind("tcp-link", &modbusv1.TcpLink{}, "modbus.v1.LinkService"),
	}
}

func implicit() []string { return []string{"bus", "config", "drill"} }

// Each file in testdata has a file with the expected problems beside it, empty if there are none.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tree, problems := config.Parse(filepath.Base(file), text, kinds(), implicit()...)
			if (tree == nil) != (len(problems) > 0) {
				t.Errorf("tree %v beside %d problems", tree, len(problems))
			}
			got := problems.Format()
			if got != "" {
				got += "\n"
			}
			beside := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(beside, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(beside)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// Text that is not UTF-8 is reported once, where it begins, together with the other problems.
func TestOtherEncodings(t *testing.T) {
	utf16 := []byte{0xff, 0xfe}
	for _, c := range []byte("gateway = \"demo\"\n") {
		utf16 = append(utf16, c, 0)
	}
	for name, test := range map[string]struct{ text, want string }{
		"utf-16":            {string(utf16), "x.toml:1: the text is UTF-16: save it as UTF-8"},
		"binary":            {"gateway = \"demo\"\n\x7fELF\x00\x00\n= 5\n", "x.toml:2: a zero byte: this is not a text file"},
		"latin-1 comment":   {"gateway = \"demo\"\n# caf\xe9\n# \xe9\n", "x.toml:2: byte 0xE9 is not UTF-8: save the text as UTF-8"},
		"latin-1 text":      {"gateway = \"d\xe9mo\"", "x.toml:1: byte 0xE9 is not UTF-8: save the text as UTF-8\nx.toml:1: gateway: \"d\ufffdmo\" is invalid: want lower-case letters, digits and -, like \"site-17\""},
		"something besides": {"gateway = \"demo\" # \xe9\nx = 5", "x.toml:1: byte 0xE9 is not UTF-8: save the text as UTF-8\nx.toml:2: x: unknown key; a table without kind is a group and may hold \"gateway\", \"ladder\" or \"watchdog\""},
	} {
		t.Run(name, func(t *testing.T) {
			tree, problems := config.Parse("x.toml", []byte(test.text), kinds(), implicit()...)
			if got := problems.Format(); got != test.want || tree != nil {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func plant(t *testing.T) *config.Tree {
	t.Helper()
	tree, problems := config.Load("testdata/plant.toml", kinds(), implicit()...)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestTree(t *testing.T) {
	tree := plant(t)
	var got []string
	tree.Walk(func(n *config.Node) { got = append(got, n.Path+"="+n.Kind) })
	want := []string{"=", "bus=bus", "config=config", "drill=drill", "field=", "field/rs485-1=", "field/rs485-1/line=serial-line",
		"field/rs485-1/meter-7=modbus-unit", "mqtt=mqtt-broker"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	line := tree.Find("field/rs485-1/line").Config.(*modbusv1.SerialLine)
	if line.Baud != 9600 || line.DataBits != 8 || line.GetRs485().GetRtsOnSend() || !line.GetRs485().GetRxDuringTx() {
		t.Errorf("line is %v", line)
	}
	unit := tree.Find("field/rs485-1/meter-7").Config.(*modbusv1.Unit)
	if len(unit.Points) != 3 || unit.Points[1].Address != 6 || unit.Points[2].Area != "input" || unit.GetTimeout().AsDuration() != 250*time.Millisecond {
		t.Errorf("unit is %v", unit)
	}
	if broker := tree.Find("mqtt").Config.(*mqttv1.Broker); broker.Commands {
		t.Error("an explicit false was lost to the default")
	}
	group := tree.Find("field/rs485-1").Config.(*gatewayv1.Group)
	if !proto.Equal(group.GetPower().GetMinOff(), durationpb.New(2*time.Second)) || group.GetBackoff().AsDuration() != 200*time.Millisecond {
		t.Errorf("group is %v", group)
	}
	if root := tree.Root.Config.(*gatewayv1.Gateway); root.GetWatchdog().GetDevice() != "/dev/watchdog" || root.GetWatchdog().GetGrace().AsDuration() != 2*time.Minute {
		t.Errorf("root is %v", root)
	}
	if n := tree.Find("field/rs485-1/meter-7"); n.Line != 22 {
		t.Errorf("meter-7 is said to be in line %d", n.Line)
	}
	if tree.Find("field/rs485-1/meter-8") != nil {
		t.Error("found what is not there")
	}
}

// A message that is not a config, but has every sort of field.
func TestEverySortOfField(t *testing.T) {
	sample := []config.Kind{{Name: "sample", Config: (&samplev1.Samples{}).ProtoReflect().Type()}}
	const head = "gateway = \"demo\"\n[s]\nkind = \"sample\"\n"
	tree, problems := config.Parse("plant.toml", []byte(head+"time = \"2026-01-31T12:00:00.5Z\"\nsequence = 9_223_372_036_854_775_807\n"+
		"samples = [{ number = -inf }, { integer = -0 }, { integer = 0b101 }, { unsigned = 0o17 }, { number = 1_0.5e1 }, { flag = true, time = \"1970-01-01T00:00:00Z\" }]\n"), sample)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := tree.Find("s").Config.(*samplev1.Samples)
	if got.Sequence != math.MaxInt64 || got.Time.AsTime().UnixMilli() != 1769860800500 || !math.IsInf(got.Samples[0].GetNumber(), -1) ||
		got.Samples[2].GetInteger() != 5 || got.Samples[3].GetUnsigned() != 15 || got.Samples[4].GetNumber() != 105 {
		t.Errorf("got %v", got)
	}
	_, problems = config.Parse("plant.toml", []byte(head+"sequence = -1\ntime = \"noon\"\nsamples = [\n{ number = 1, text = \"x\" },\n]\n"), sample)
	want := "plant.toml:4: s.sequence: -1 is out of range: at least 0\n" +
		"plant.toml:5: s.time: \"noon\" is not a time like \"2026-01-31T12:00:00Z\"\n" +
		"plant.toml:7: s.samples[0].text: cannot be used together with \"number\""
	if problems.Format() != want {
		t.Errorf("got\n%s\nwant\n%s", problems.Format(), want)
	}
}

func TestUnreadableFile(t *testing.T) {
	_, problems := config.Load(filepath.Join(t.TempDir(), "plant.toml"), kinds())
	if len(problems) != 1 || !strings.HasSuffix(problems.Error(), "plant.toml: cannot read the config file: no such file or directory") {
		t.Errorf("got %v", problems)
	}
}

func TestProblemsAsJSON(t *testing.T) {
	_, problems := config.Parse("plant.toml", []byte("gateway = 5\n"), kinds())
	text, err := problems.FormatJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(text, &got); err != nil || len(got) != 1 || got[0]["line"] != 1.0 || got[0]["key"] != "gateway" ||
		got[0]["message"] != "expected a text, got the number 5" {
		t.Errorf("got %s, %v", text, err)
	}
	if p := problems.Proto(); len(p) != 1 || p[0].Line != 1 || p[0].File != "plant.toml" {
		t.Errorf("got %v", p)
	}
	if config.Problems(nil).Err() != nil {
		t.Error("no problems are an error")
	}
}
