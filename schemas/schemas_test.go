package schemas_test

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/schemas"
	_ "gatewayd/schemas/access/v1"
	_ "gatewayd/schemas/actor/v1"
	_ "gatewayd/schemas/audit/v1"
	_ "gatewayd/schemas/config/v1"
	drillv1 "gatewayd/schemas/drill/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	_ "gatewayd/schemas/sample/v1"
	_ "gatewayd/schemas/tls/v1"
	_ "gatewayd/schemas/track/v1"
	_ "gatewayd/schemas/uplink/v1"
	_ "gatewayd/schemas/web/v1"
)

// ours calls do for every message of our schemas.
func ours(t *testing.T, do func(protoreflect.MessageType)) {
	t.Helper()
	n := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if !strings.HasPrefix(string(mt.Descriptor().FullName()), "google.") {
			n++
			do(mt)
		}
		return true
	})
	if n < 50 {
		t.Fatalf("only %d messages are linked in", n)
	}
}

// Every default can be parsed and satisfies its rule; every field that is not required may be
// absent.
func TestDefaultsKeepTheirRules(t *testing.T) {
	ours(t, func(mt protoreflect.MessageType) {
		m := mt.New().Interface()
		schemas.Defaults(m)
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			rule := schemas.RuleOf(fd)
			if d := rule.GetDefault(); d != "" && !m.ProtoReflect().Has(fd) && d != "0" && d != "false" {
				t.Errorf("%s: default %q cannot be read", fd.FullName(), d)
			}
			if rule.GetDefault() != "" && rule.GetRequired() {
				t.Errorf("%s is required and has a default", fd.FullName())
			}
		}
		for _, v := range schemas.Check(m) {
			if !strings.HasPrefix(v.Message, "is required") {
				t.Errorf("%s: %v", mt.Descriptor().FullName(), v)
			}
		}
	})
}

// Maps and enums are replaced by lists with a unique name and by texts with "in": no code here
// supports them.
func TestSchemasHoldNothingElse(t *testing.T) {
	ours(t, func(mt protoreflect.MessageType) {
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			if fd.IsMap() || fd.Enum() != nil {
				t.Errorf("%s is a map or an enum", fd.FullName())
			}
			rule := schemas.RuleOf(fd)
			form(t, fd)
			if rule.GetUnique() != "" && schemas.FieldByKey(fd.Message(), rule.GetUnique()) == nil {
				t.Errorf("%s: no field %q to be unique", fd.FullName(), rule.GetUnique())
			}
		}
	})
}

// form checks that a pattern has a description in words, and that the examples in it match.
func form(t *testing.T, fd protoreflect.FieldDescriptor) {
	t.Helper()
	rule := schemas.RuleOf(fd)
	re, err := regexp.Compile("^(?:" + rule.GetPattern() + ")$")
	if err != nil {
		t.Errorf("%s: %v", fd.FullName(), err)
		return
	}
	if (rule.GetPattern() == "") != (rule.GetForm() == "") {
		t.Errorf("%s: a pattern is told in words, and nothing else: %q, %q", fd.FullName(), rule.GetPattern(), rule.GetForm())
	}
	for i, example := range strings.Split(rule.GetForm(), `"`) {
		if i%2 == 1 && !re.MatchString(example) {
			t.Errorf("%s: the example %q does not match", fd.FullName(), example)
		}
	}
}

func TestDefaults(t *testing.T) {
	g := &gatewayv1.Group{Critical: true, Ladder: []string{"escalate"}}
	schemas.Defaults(g)
	if len(g.Ladder) != 1 || g.Backoff.AsDuration() != 200*time.Millisecond || g.Silence != nil || g.Power != nil {
		t.Errorf("got %v", g)
	}
	u := &modbusv1.Unit{Points: []*modbusv1.Point{{Name: "a"}, {Area: "input"}}}
	schemas.Defaults(u)
	if u.Points[0].Area != "holding" || u.Points[1].Area != "input" || u.MaxRegisters != 125 {
		t.Errorf("got %v", u)
	}
	s := &modbusv1.SerialLine{Rs485: &modbusv1.Rs485{}}
	schemas.Defaults(s)
	if !s.Rs485.RtsOnSend || s.Parity != "even" {
		t.Errorf("got %v", s)
	}
}

func line(change func(*modbusv1.SerialLine)) proto.Message {
	s := &modbusv1.SerialLine{Port: "/dev/ttyS0"}
	schemas.Defaults(s)
	change(s)
	return s
}

func unit(change func(*modbusv1.Unit)) proto.Message {
	u := &modbusv1.Unit{Link: "field/line", Unit: 7}
	schemas.Defaults(u)
	change(u)
	return u
}

func TestCheck(t *testing.T) {
	point := func(name string) *modbusv1.Point { return &modbusv1.Point{Name: name, Area: "holding"} }
	for _, c := range []struct {
		name string
		m    proto.Message
		want []string
	}{
		{"fine", line(func(*modbusv1.SerialLine) {}), nil},
		{"range with unit", line(func(s *modbusv1.SerialLine) { s.Baud = 12000001 }),
			[]string{"baud: 12000001 is out of range: 50 to 12000000 Bd"}},
		{"emptied number", line(func(s *modbusv1.SerialLine) { s.Baud = 0 }),
			[]string{"baud: 0 is out of range: 50 to 12000000 Bd"}},
		{"only a maximum", line(func(s *modbusv1.SerialLine) { s.StopBits = 3 }),
			[]string{"stop-bits: 3 is out of range: 0 to 2"}},
		{"in", line(func(s *modbusv1.SerialLine) { s.Parity = "evn" }),
			[]string{`parity: "evn" is not one of "none", "even" or "odd", did you mean "even"?`}},
		{"required", line(func(s *modbusv1.SerialLine) { s.Port = "" }), []string{"port: is required"}},
		{"duration", line(func(s *modbusv1.SerialLine) { s.Turnaround = durationpb.New(time.Hour) }),
			[]string{"turnaround: 1h is out of range: 0s to 10s"}},
		{"negative duration", line(func(s *modbusv1.SerialLine) { s.Turnaround = durationpb.New(-time.Second) }),
			[]string{"turnaround: -1s is out of range: 0s to 10s"}},
		{"nested", line(func(s *modbusv1.SerialLine) { s.Rs485 = &modbusv1.Rs485{DelayAfter: durationpb.New(time.Second)} }),
			[]string{"rs485.delay-after: 1s is out of range: 0s to 100ms"}},
		{"two at once", line(func(s *modbusv1.SerialLine) { s.Port, s.DataBits = "", 9 }),
			[]string{"port: is required", "data-bits: 9 is out of range: 7 to 8"}},
		{"pattern", &gatewayv1.Gateway{Gateway: "demo x"}, []string{`gateway: "demo x" is invalid: want lower-case letters, digits and -, like "site-17"`}},
		{"pattern is whole", &mqttv1.Broker{Listen: "1883:x", MaxClients: 1, MaxClientsPerAddress: 1, MaxPacket: 1024, WriteBuffer: 16384},
			[]string{`listen: "1883:x" is invalid: want host:port, like "127.0.0.1:1883"`}},
		{"text length", &gatewayv1.Gateway{Gateway: strings.Repeat("a", 65)},
			[]string{"gateway: length 65 is out of range: at most 64 characters"}},
		{"list length", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(0), Values: make([]uint32, 124)},
			[]string{"values: length 124 is out of range: 1 to 123 values"}},
		{"number required that is never zero", &modbusv1.FileRange{Quantity: 1}, []string{"file: is required and never 0: 1 to 65535"}},
		{"list required", &modbusv1.WriteRegistersRequest{}, []string{"address: is required", "values: is required"}},
		{"unique", unit(func(u *modbusv1.Unit) { u.Points = []*modbusv1.Point{point("a"), point("b"), point("a")} }),
			[]string{`points[2].name: "a" is used twice, first in points[0]`}},
		{"list element", unit(func(u *modbusv1.Unit) {
			u.Points = []*modbusv1.Point{point("a"), {Name: "b", Area: "holding", Bit: proto.Uint32(16)}}
		}), []string{"points[1].bit: 16 is out of range: 0 to 15"}},
		{"names", unit(func(u *modbusv1.Unit) {
			u.Groups = []*modbusv1.ScanGroup{{Name: "fast", Every: durationpb.New(time.Second)}}
			u.Points = []*modbusv1.Point{{Name: "b", Area: "holding", Group: "fats"}}
		}), []string{`points[0].group: "fats" is not in groups ("fast"), did you mean "fast"?`}},
		{"not a number", &drillv1.InjectRequest{Path: "a", Fault: "kill", Rate: proto.Float64(math.NaN())},
			[]string{"rate: NaN is out of range: 0 to 1"}},
		{"empty allowed", &erraticv1.Erratic{Every: durationpb.New(time.Second)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, v := range schemas.Check(c.m) {
				got = append(got, v.Error())
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	refs := schemas.References(unit(func(*modbusv1.Unit) {}))
	if len(refs) != 1 || refs[0] != (schemas.Reference{Field: "link", Name: "field/line", Service: "modbus.v1.LinkService"}) {
		t.Errorf("got %v", refs)
	}
}

func TestMerge(t *testing.T) {
	patch := func(t *testing.T, json string) *structpb.Struct {
		s := &structpb.Struct{}
		if err := s.UnmarshalJSON([]byte(json)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	base := func() *modbusv1.SerialLine {
		s := &modbusv1.SerialLine{Port: "/dev/ttyS0", Baud: 9600, StopBits: 2}
		schemas.Defaults(s)
		return s
	}
	for _, c := range []struct {
		name, patch string
		want        func(*modbusv1.SerialLine)
		err         string
	}{
		{"nothing", `{}`, func(*modbusv1.SerialLine) {}, ""},
		{"camel and kebab", `{"dataBits":7,"stop-bits":0}`, func(s *modbusv1.SerialLine) { s.DataBits, s.StopBits = 7, 0 }, ""},
		{"nested with default", `{"rs485":{"rxDuringTx":true}}`,
			func(s *modbusv1.SerialLine) { s.Rs485 = &modbusv1.Rs485{RtsOnSend: true, RxDuringTx: true} }, ""},
		{"explicit false", `{"rs485":{"rts-on-send":false}}`, func(s *modbusv1.SerialLine) { s.Rs485 = &modbusv1.Rs485{} }, ""},
		{"durations", `{"turnaround":"1.500s"}`, func(s *modbusv1.SerialLine) { s.Turnaround = durationpb.New(1500 * time.Millisecond) }, ""},
		{"null", `{"baud":null}`, func(s *modbusv1.SerialLine) { s.Baud = 19200 }, ""},
		{"unknown", `{"buad":1}`, nil, `buad: unknown key, did you mean "baud"?`},
		{"snake", `{"data_bits":1}`, nil, `data_bits: unknown key, did you mean "data-bits"?`},
		{"types", `{"baud":"fast","rs485":1,"turnaround":5,"port":[]}`, nil,
			"baud: expected a whole number, got the text \"fast\"\nport: expected a text, got a list\n" +
				"rs485: expected a table, got the number 1\nturnaround: expected a duration like \"1m30s\", got the number 5"},
		{"fraction", `{"baud":1.5}`, nil, "baud: expected a whole number, got the number 1.5"},
		{"below type", `{"baud":-1}`, nil, "baud: -1 is out of range: 50 to 12000000 Bd"},
		{"twice", `{"dataBits":7,"data-bits":8}`, nil, `dataBits: is defined twice, also as "data-bits"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := base(), base()
			err := schemas.Merge(got, patch(t, c.patch))
			if c.want != nil {
				c.want(want)
			}
			if !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if msg := errorText(err); msg != c.err {
				t.Errorf("got error %q, want %q", msg, c.err)
			}
		})
	}
	b := &gatewayv1.Bus{}
	if err := schemas.Merge(b, patch(t, `{"maxStore":"18446744073709551615","max-memory":262144}`)); err != nil || b.MaxStore != 1<<64-1 || b.MaxMemory != 262144 {
		t.Errorf("got %v, %v", b, err)
	}
	u := &modbusv1.Unit{Points: []*modbusv1.Point{{Name: "old"}}}
	if err := schemas.Merge(u, patch(t, `{"points":[{"name":"new","address":5}]}`)); err != nil || len(u.Points) != 1 || u.Points[0].Area != "holding" {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"buad", "baud"}, {"baudrate", "baud"}, {"data_bits", "data-bits"}, {"x", ""}, {"PORT", "port"}, {"prot", "port"},
	} {
		if got := schemas.Nearest(c.name, []string{"baud", "data-bits", "port"}); got != c.want {
			t.Errorf("%q: got %q, want %q", c.name, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
