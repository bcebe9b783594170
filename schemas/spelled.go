package schemas

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Spelled returns a config with the keys and values of the config file, as Merge reads them:
// "data-bits", "1m30s". Empty fields are left out, unless they are required: the address 0.
func Spelled(m proto.Message) *structpb.Struct { return spelled(m.ProtoReflect()) }

func spelled(m protoreflect.Message) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); RuleOf(fd).GetRequired() && !fd.IsList() && fd.Message() == nil && !fd.HasPresence() {
			s.Fields[Key(fd)] = spelledValue(fd, m.Get(fd))
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !fd.IsList() {
			s.Fields[Key(fd)] = spelledValue(fd, v)
			return true
		}
		list := &structpb.ListValue{}
		for i := range v.List().Len() {
			list.Values = append(list.Values, spelledValue(fd, v.List().Get(i)))
		}
		s.Fields[Key(fd)] = structpb.NewListValue(list)
		return true
	})
	return s
}

func spelledValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) *structpb.Value {
	switch n, isNumber := numeric(v); {
	case IsDuration(fd):
		return structpb.NewStringValue(DurationText(durationOf(v.Message())))
	case plainMessage(fd):
		return structpb.NewStructValue(spelled(v.Message()))
	case fd.Message() != nil:
		if t, ok := v.Message().Interface().(*timestamppb.Timestamp); ok {
			return structpb.NewStringValue(t.AsTime().Format(time.RFC3339Nano))
		}
		return structpb.NewNullValue()
	case fd.Kind() == protoreflect.BoolKind:
		return structpb.NewBoolValue(v.Bool())
	case isNumber && (wide(fd.Kind()) && math.Abs(n) > 1<<53 || math.IsNaN(n) || math.IsInf(n, 0)): // JSON has no such numbers
		return structpb.NewStringValue(numberText(v))
	case isNumber:
		return structpb.NewNumberValue(n)
	}
	return structpb.NewStringValue(v.String())
}

// JSONPath converts a dotted path of keys to the JSON names of the message:
// "records[0].readAddress" for "records[0].read-address".
func JSONPath(field string) string {
	b := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		if c := field[i]; c == '-' && i+1 < len(field) && 'a' <= field[i+1] && field[i+1] <= 'z' {
			i++
			b = append(b, field[i]-'a'+'A')
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
