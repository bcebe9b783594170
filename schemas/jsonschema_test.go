package schemas_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
	configv1 "gatewayd/schemas/config/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func compile(t *testing.T, text []byte, err error) *jsonschema.Schema {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return s
}

// validate returns the result of validating a JSON text with s.
func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func descriptor(m proto.Message) protoreflect.MessageDescriptor { return m.ProtoReflect().Descriptor() }

func configSchema(t *testing.T) *jsonschema.Schema {
	text, err := schemas.JSONSchema(map[string]protoreflect.MessageDescriptor{
		"serial-line": descriptor(&modbusv1.SerialLine{}),
		"modbus-unit": descriptor(&modbusv1.Unit{}),
		"erratic":     descriptor(&erraticv1.Erratic{}),
	})
	return compile(t, text, err)
}

func TestJSONSchemaOfTheConfigFile(t *testing.T) {
	s := configSchema(t)
	const line = "gateway = \"demo\"\n[field.line]\nkind = \"serial-line\"\nport = \"/dev/ttyS0\"\n"
	const unit = line + "[field.a.b.unit]\nkind = \"modbus-unit\"\nlink = \"field/line\"\nunit = 1\n"
	for _, c := range []struct {
		name, text string
		good       bool
	}{
		{"line", line, true},
		{"settings", line + "baud = 9600\nparity = \"none\"\nturnaround = \"1.5s\"\nrs485.rts-on-send = false\n", true},
		{"unit", unit + "points = [{ name = \"a\", address = 1, scale = 0.5 }]\n", true},
		{"group settings", line + "[field]\nladder = [\"restart 1 in 1m\", \"escalate\"]\nsilence = \"1m30s\"\npower.off = \"2s\"\n", true},
		{"watchdog", line + "[watchdog]\ntimeout = \"20s\"\n", true},
		{"no gateway", "[a]\n", false},
		{"gateway name", "gateway = \"De mo\"\n", false},
		{"no port", "gateway = \"demo\"\n[line]\nkind = \"serial-line\"\n", false},
		{"unknown key", line + "buad = 9600\n", false},
		{"unknown kind", "gateway = \"demo\"\n[x]\nkind = \"serial\"\n", false},
		{"kind at the top", "gateway = \"demo\"\nkind = \"erratic\"\n", false},
		{"range", line + "baud = 12\n", false},
		{"type", line + "baud = \"9600\"\n", false},
		{"fraction", line + "baud = 9600.5\n", false},
		{"enum", line + "parity = \"evn\"\n", false},
		{"duration", line + "turnaround = \"5 minutes\"\n", false},
		{"name", "gateway = \"demo\"\n[Field]\n", false},
		{"deep", unit + "points = [{ name = \"a\", address = 65536 }]\n", false},
		{"missing in a list", unit + "points = [{ name = \"a\" }]\n", false},
		{"group key", line + "[field.sub]\nladdder = [\"escalate\"]\n", false},
		{"actor within actor", line + "[field.line.x]\nkind = \"erratic\"\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var doc map[string]any
			if err := toml.Unmarshal([]byte(c.text), &doc); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, s, text); (err == nil) != c.good {
				t.Errorf("good is %v, but got %v for\n%s", c.good, err, text)
			}
		})
	}
}

func TestJSONSchemaExplains(t *testing.T) {
	text, err := schemas.JSONSchema(map[string]protoreflect.MessageDescriptor{"serial-line": descriptor(&modbusv1.SerialLine{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"default": 19200`, `"description": "Speed. In Bd."`, `"maximum": 12000000`, `"default": "100ms"`,
		`From 0s to 10s.`, `"const": "serial-line"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

func TestTable(t *testing.T) {
	const want = "| key | value | default | meaning |\n|---|---|---|---|\n" +
		"| `name` | lower-case letters, digits and -, like \"fast\" | required | Name, also the last token of the subject on which its samples are published. |\n" +
		"| `every` | a duration, 10ms to 24h | required | How often. |\n" +
		"| `report` | a table |  | When samples of its points are published. |\n" +
		"| `report.on` | \"every\" or \"change\" | `change` | Whether to publish after every read, or only when value or quality has changed. |\n" +
		"| `report.deadband` | a number, at least 0 |  | Minimum change: a number is published if it differs by more than this from the last published one; 0: any change. |\n" +
		"| `report.deadband-percent` | a number, 0 to 100 % |  | The same as a percentage of the last published value; the wider of the two deadbands applies. |\n" +
		"| `report.heartbeat` | a duration, 0s to 24h |  | Maximum time between two publications, changed or not; 0s: none. |\n"
	if got := schemas.Table(descriptor(&modbusv1.ScanGroup{})); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	unit := schemas.Table(descriptor(&modbusv1.Unit{}))
	for _, row := range []string{
		"| `link` | the path of an actor that offers modbus.v1.LinkService | required |",
		"| `points` | a list: a table |  |",
		"| `points[].area` | \"coil\", \"discrete-input\", \"holding\" or \"input\" | `holding` |",
		"| `points[].group` | the name of one of the groups |  |",
		"| `max-registers` | a whole number, 1 to 125 registers | `125` |",
	} {
		if !strings.Contains(unit, row) {
			t.Errorf("%s is missing in\n%s", row, unit)
		}
	}
}

// The JSON that protojson writes of any message satisfies the message's schema.
func TestMessageSchemas(t *testing.T) {
	ours(t, func(mt protoreflect.MessageType) {
		text, err := schemas.MessageSchema(mt.Descriptor())
		s := compile(t, text, err)
		m := mt.New().Interface()
		schemas.Defaults(m)
		for _, v := range schemas.Check(m) {
			if strings.HasPrefix(v.Message, "is required") {
				return
			}
		}
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, raw); err != nil {
			t.Errorf("%s: %v\n%s", mt.Descriptor().FullName(), err, raw)
		}
	})
	text, err := schemas.MessageSchema(descriptor(&samplev1.Samples{}))
	s := compile(t, text, err)
	good := `{"time":"2026-01-31T12:00:00.5Z","sequence":"18446744073709551615","samples":[{"point":"a","number":"NaN"},{"point":"b","integer":-5}]}`
	if err := validate(t, s, []byte(good)); err != nil {
		t.Error(err)
	}
	if err := validate(t, s, []byte(`{"samples":[{"quality":"good"}]}`)); err == nil {
		t.Error("a quality that is not in the list is accepted")
	}
	text, err = schemas.MessageSchema(descriptor(&configv1.CheckRequest{}))
	if err := validate(t, compile(t, text, err), []byte(`{}`)); err == nil {
		t.Error("a request without what it requires is accepted")
	}
}
