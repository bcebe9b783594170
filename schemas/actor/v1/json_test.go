package actorv1_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	actorv1 "gatewayd/schemas/actor/v1"
)

// fill sets every field of m, and of the messages in it.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		text := protoreflect.ValueOfString("\"" + string(fd.FullName()) + "\" <ä>")
		switch {
		case fd.IsList() && fd.Message() != nil:
			fill(m.Mutable(fd).List().AppendMutable().Message())
		case fd.IsList():
			m.Mutable(fd).List().Append(text)
		default:
			m.Set(fd, text)
		}
	}
}

// What is written by hand is what protojson reads, and no field is forgotten.
func TestAppendJSON(t *testing.T) {
	for _, m := range []interface {
		proto.Message
		AppendJSON([]byte) ([]byte, error)
	}{&actorv1.Listing{}, &actorv1.Index{}} {
		for range 2 { // empty, then full
			text, err := m.AppendJSON([]byte("  "))
			if err != nil {
				t.Fatal(err)
			}
			back := m.ProtoReflect().New().Interface()
			if err := protojson.Unmarshal(text, back); err != nil || !proto.Equal(m, back) {
				t.Errorf("%s: %v, want %v (%v)", text, back, m, err)
			}
			fill(m.ProtoReflect())
		}
	}
}
