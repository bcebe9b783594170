package bus

import (
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
)

// The two content types of a message. A message without the header is JSON, because people watch
// the bus.
const (
	JSON     = "application/json"
	Protobuf = "application/protobuf"
)

const headerType = "Content-Type"

// AppendJSONer is a message that encodes its own protojson: the fast path for frequently published
// messages.
type AppendJSONer interface {
	AppendJSON([]byte) ([]byte, error)
}

// contentType returns the canonical spelling of v; values that are neither JSON nor protobuf are
// returned unchanged.
func contentType(v string) string {
	if v == "" || v == JSON {
		return JSON
	}
	base, _, _ := strings.Cut(v, ";")
	switch strings.ToLower(strings.TrimSpace(base)) {
	case "", JSON, "json":
		return JSON
	case Protobuf, "application/proto", "application/x-protobuf", "application/vnd.google.protobuf":
		return Protobuf
	}
	return v
}

// Marshal encodes m in the given content type; JSON is one line.
func Marshal(typ string, m proto.Message) ([]byte, error) {
	switch typ = contentType(typ); typ {
	case Protobuf:
		return proto.Marshal(m)
	case JSON:
		if f, ok := m.(AppendJSONer); ok {
			return f.AppendJSON(nil)
		}
		return protojson.MarshalOptions{}.Marshal(m)
	}
	return nil, Errorf(InvalidArgument, "content type %q is neither %s nor %s", typ, JSON, Protobuf)
}

// Answer encodes m as the answer to a request of the given content type: in the same type, or in
// JSON if it is neither JSON nor protobuf. The JSON includes fields that are 0, false or empty, so
// that a reader sees a zero counter without knowing the schema.
func Answer(typ string, m proto.Message) (answerType string, payload []byte, err error) {
	if typ = contentType(typ); typ != Protobuf {
		typ = JSON
	}
	if _, own := m.(AppendJSONer); typ == JSON && !own {
		payload, err = protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
		return typ, payload, err
	}
	payload, err = Marshal(typ, m)
	return typ, payload, err
}

// Unmarshal decodes p into m. An empty p is the empty message. An unknown JSON field is an error,
// because it is most likely a typing mistake. Errors are *Error.
func Unmarshal(typ string, p []byte, m proto.Message) error {
	var err error
	switch typ = contentType(typ); {
	case typ == Protobuf:
		err = proto.Unmarshal(p, m)
	case typ != JSON:
		return Errorf(InvalidArgument, "content type %q is neither %s nor %s", typ, JSON, Protobuf)
	case len(p) == 0:
		proto.Reset(m)
	default:
		if err = protojson.Unmarshal(p, m); err == nil {
			break
		}
		if what := schemas.Unknown(p, m.ProtoReflect().Descriptor()); what != "" {
			return Errorf(InvalidArgument, "%s: %s", m.ProtoReflect().Descriptor().Name(), what)
		}
	}
	if err != nil {
		return Errorf(InvalidArgument, "not a valid %s in %s: %s", m.ProtoReflect().Descriptor().FullName(), typ, oneLine(err.Error()))
	}
	return nil
}
