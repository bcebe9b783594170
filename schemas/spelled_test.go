package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Spelled writes a config as in the config file, and Merge reads it back.
func TestSpelled(t *testing.T) {
	line := &modbusv1.SerialLine{Port: "/dev/ttyUSB0", DataBits: 7, Rs485: &modbusv1.Rs485{RtsOnSend: true}}
	schemas.Defaults(line)
	s := schemas.Spelled(line)
	text, err := protojson.MarshalOptions{}.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"data-bits": 7.0, "turnaround": "100ms", "port": "/dev/ttyUSB0", "parity": "even"} {
		if got := s.Fields[key].AsInterface(); got != want {
			t.Errorf("%s is %v in %s", key, got, text)
		}
	}
	if !s.Fields["rs485"].GetStructValue().Fields["rts-on-send"].GetBoolValue() {
		t.Errorf("rs485 in %s", text)
	}
}

// The address 0 is included: it has no default.
func TestSpelledSaysWhatMustBeGiven(t *testing.T) {
	s := schemas.Spelled(&modbusv1.Unit{Link: "l", Points: []*modbusv1.Point{{Name: "x"}}})
	point := s.Fields["points"].GetListValue().Values[0].GetStructValue()
	if _, ok := point.Fields["address"]; !ok || s.Fields["unit"] == nil || len(point.Fields) != 2 {
		t.Errorf("%v", s)
	}
}

func TestSpelledIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &gatewayv1.Bus{
			Listen: rapid.StringMatching(`[a-z.:0-9"]{0,9}`).Draw(t, "listen"), MaxStore: rapid.Uint64().Draw(t, "store"),
			Insecure: rapid.Bool().Draw(t, "insecure"),
		}
		back := &gatewayv1.Bus{}
		if err := schemas.Merge(back, schemas.Spelled(m)); err != nil || !proto.Equal(m, back) {
			t.Fatalf("%v came back as %v: %v", m, back, err)
		}
	})
}

func TestUnknown(t *testing.T) {
	write := (&modbusv1.WriteRegistersRequest{}).ProtoReflect().Descriptor()
	files := (&modbusv1.WriteFileRecordsRequest{}).ProtoReflect().Descriptor()
	for _, x := range []struct {
		text, want string
	}{
		{`{"address":1,"values":[1]}`, ""},
		{`{"adress":1}`, `unknown field "adress", did you mean "address"?; the fields are address, values`},
		{`{"register":1}`, `unknown field "register"; the fields are address, values`},
		{`[]`, ""},
	} {
		if got := schemas.Unknown([]byte(x.text), write); got != x.want {
			t.Errorf("%s: %s", x.text, got)
		}
	}
	got := schemas.Unknown([]byte(`{"records":[{"file":1},{"fiel":2}]}`), files)
	if want := `unknown field "records[1].fiel", did you mean "file"?; the fields are file, record, values`; got != want {
		t.Error(got)
	}
	if got := schemas.JSONPath("records[0].read-address"); got != "records[0].readAddress" {
		t.Error(got)
	}
}
