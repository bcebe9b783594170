package schemas

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unknown returns a description of the first unknown key in a JSON text, with the keys that the
// message has; "" if there is none. Keys are those of protojson, which also accepts the fields' own
// names.
func Unknown(text []byte, md protoreflect.MessageDescriptor) string {
	return unknown(text, md, "")
}

func unknown(text []byte, md protoreflect.MessageDescriptor, at string) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil || md.ParentFile().Package() == "google.protobuf" {
		return ""
	}
	for _, key := range sortedKeys(object) {
		fd := md.Fields().ByJSONName(key)
		if fd == nil {
			fd = md.Fields().ByTextName(key)
		}
		field := join(at, key)
		switch {
		case fd == nil:
			return fmt.Sprintf("unknown field %q%s", field, knownFields(key, md))
		case !plainMessage(fd):
		case fd.IsList():
			var items []json.RawMessage
			_ = json.Unmarshal(object[key], &items) // a value that is not a list is reported by the decoder
			for i, item := range items {
				if s := unknown(item, fd.Message(), element(field, i)); s != "" {
					return s
				}
			}
		default:
			if s := unknown(object[key], fd.Message(), field); s != "" {
				return s
			}
		}
	}
	return ""
}

func knownFields(key string, md protoreflect.MessageDescriptor) string {
	fields := md.Fields()
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	if len(names) == 0 {
		return "; the message has no fields"
	}
	hint := DidYouMean(key, names)
	if hint == "" {
		hint = DidYouMean(JSONPath(key), names)
	}
	return hint + "; the fields are " + strings.Join(names, ", ")
}

func sortedKeys(object map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
