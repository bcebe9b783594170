package bus_test

import (
	"encoding/json"
	"testing"

	"gatewayd/bus"
	modbusv1 "gatewayd/schemas/modbus/v1"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// fast is a message that encodes its own JSON.
type fast struct{ *wrapperspb.Int64Value }

func (fast) AppendJSON(p []byte) ([]byte, error) { return append(p, `"fast"`...), nil }

func TestMarshal(t *testing.T) {
	if p, err := bus.Marshal(bus.JSON, fast{wrapperspb.Int64(1)}); err != nil || string(p) != `"fast"` {
		t.Fatalf("%s %v", p, err)
	}
	for typ, want := range map[string]string{
		"": `"7"`, "application/json; charset=utf-8": `"7"`, bus.Protobuf: "\x08\x07", "application/proto": "\x08\x07", "application/x-protobuf": "\x08\x07",
	} {
		p, err := bus.Marshal(typ, wrapperspb.Int64(7))
		v := &wrapperspb.Int64Value{}
		if err != nil || string(p) != want || bus.Unmarshal(typ, p, v) != nil || v.Value != 7 {
			t.Errorf("%q: %q %v", typ, p, err)
		}
	}
	if _, err := bus.Marshal("text/plain", wrapperspb.Int64(7)); code(err) != bus.InvalidArgument {
		t.Error(err)
	}
	v := wrapperspb.Int64(7)
	if err := bus.Unmarshal(bus.JSON, nil, v); err != nil || v.Value != 0 {
		t.Error(v, err)
	}
}

// An answer includes zero counts and empty lists.
func TestAnswerOfZeros(t *testing.T) {
	_, p, err := bus.Answer("", &modbusv1.MastersResponse{})
	fields := map[string]any{}
	if err != nil || json.Unmarshal(p, &fields) != nil {
		t.Fatalf("%s %v", p, err)
	}
	if masters, ok := fields["masters"].([]any); !ok || len(masters) != 0 || fields["requests"] != "0" {
		t.Errorf("got %s", p)
	}
	for typ, want := range map[string]string{"": "{}", bus.Protobuf: ""} {
		if _, p, err := bus.Answer(typ, &emptypb.Empty{}); err != nil || string(p) != want {
			t.Errorf("%q: %q %v", typ, p, err)
		}
	}
	if _, p, err := bus.Answer("", fast{wrapperspb.Int64(1)}); err != nil || string(p) != `"fast"` {
		t.Errorf("%s %v", p, err)
	}
}
