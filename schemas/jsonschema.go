package schemas

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	gatewayv1 "gatewayd/schemas/gateway/v1"
)

const (
	draft = "https://json-schema.org/draft/2020-12/schema"

	// What time.ParseDuration accepts.
	goDuration = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$`
	// What protojson writes.
	jsonDuration = `^-?[0-9]+(\.[0-9]{1,9})?s$`
	token        = `^[a-z0-9-]+$`
)

type object = map[string]any

// JSONSchema returns the JSON Schema (draft 2020-12) of the config file, for editors: the gateway's
// settings at the top, groups within groups, actors distinguished by kind. kinds maps the names of
// the kinds to their config messages.
func JSONSchema(kinds map[string]protoreflect.MessageDescriptor) ([]byte, error) {
	w := schemaWriter{config: true, defs: object{}}
	names := slices.Sorted(maps.Keys(kinds))
	nodes := make([]object, 0, len(names)+1)
	for _, name := range names {
		w.defs["kind-"+name] = w.actor(name, kinds[name])
		nodes = append(nodes, object{"$ref": "#/$defs/kind-" + name})
	}
	group := w.group((&gatewayv1.Group{}).ProtoReflect().Descriptor())
	group["properties"].(object)["kind"] = false
	w.defs["group"] = group
	w.defs["node"] = object{"oneOf": append(nodes, object{"$ref": "#/$defs/group"})}
	root := w.group((&gatewayv1.Gateway{}).ProtoReflect().Descriptor())
	root["properties"].(object)["root"] = false      // the name of the top group
	root["properties"].(object)["catalogue"] = false // the topic of the list of all actors
	root["$schema"], root["title"], root["$defs"] = draft, "gatewayd config", w.defs
	return json.MarshalIndent(root, "", " ")
}

// MessageSchema returns the JSON Schema (draft 2020-12) of a message as JSON on the bus.
func MessageSchema(md protoreflect.MessageDescriptor) ([]byte, error) {
	w := schemaWriter{defs: object{}}
	root := w.message(md)
	root["$schema"], root["title"] = draft, string(md.FullName())
	if len(w.defs) > 0 {
		root["$defs"] = w.defs
	}
	return json.Marshal(root)
}

// schemaWriter collects the schemas of all messages it meets in defs.
type schemaWriter struct {
	config bool // as in the config file, not as JSON on the bus
	defs   object
	refs   string // prefix of the names of defs in references; empty: "#/$defs/"
}

func (w *schemaWriter) actor(kind string, md protoreflect.MessageDescriptor) object {
	s := w.message(md)
	s["title"] = kind
	s["properties"].(object)["kind"] = object{"const": kind, "description": Doc(string(md.FullName()))}
	required, _ := s["required"].([]string)
	s["required"] = append([]string{"kind"}, required...)
	return s
}

// group returns the schema of a message whose table may also contain groups and actors.
func (w *schemaWriter) group(md protoreflect.MessageDescriptor) object {
	s := w.message(md)
	s["additionalProperties"] = object{"$ref": "#/$defs/node"}
	s["propertyNames"] = object{"pattern": token}
	return s
}

func (w *schemaWriter) message(md protoreflect.MessageDescriptor) object {
	properties := object{}
	var required []string
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		key := fd.JSONName()
		if w.config {
			key = Key(fd)
		}
		properties[key] = w.field(fd)
		if RuleOf(fd).GetRequired() && (w.config || fd.HasPresence() || fd.IsList() || fd.Kind() == protoreflect.StringKind || RuleOf(fd).GetMin() > 0) {
			required = append(required, key)
		}
	}
	s := object{"type": "object", "properties": properties}
	if doc := Doc(string(md.FullName())); doc != "" {
		s["description"] = doc
	}
	if len(required) > 0 {
		s["required"] = required
	}
	if w.config {
		s["additionalProperties"] = false
	}
	return s
}

func (w *schemaWriter) field(fd protoreflect.FieldDescriptor) object {
	rule := RuleOf(fd)
	s := w.value(fd)
	if fd.IsList() {
		s = object{"type": "array", "items": s}
		if rule.Min != nil {
			s["minItems"] = int64(rule.GetMin())
		}
		if rule.Max != nil {
			s["maxItems"] = int64(rule.GetMax())
		}
	}
	if doc := fieldDoc(fd); doc != "" {
		s["description"] = doc
	}
	if d := rule.GetDefault(); d != "" {
		s["default"] = defaultJSON(fd, d)
	}
	if rule.GetSecret() {
		s["writeOnly"] = true
	}
	return s
}

// fieldDoc returns a field's comment with the rules that JSON Schema cannot express.
func fieldDoc(fd protoreflect.FieldDescriptor) string {
	doc, rule := Doc(string(fd.FullName())), RuleOf(fd)
	add := func(s string) {
		if doc != "" {
			doc += " "
		}
		doc += s
	}
	if low, high := bounds(fd); IsDuration(fd) && !(math.IsInf(low, 0) && math.IsInf(high, 0)) {
		add("From " + allowed(fd) + ".")
	} else if unit := rule.GetUnit(); unit != "" {
		add("In " + unit + ".")
	}
	if form := rule.GetForm(); form != "" {
		add("Expected: " + form + ".")
	}
	switch service := rule.GetActor(); service {
	case "":
	case "*":
		add("The path of an actor.")
	default:
		add("The path of an actor that offers " + service + ".")
	}
	return doc
}

// value returns the schema of one value of a field; for a list, of one element.
func (w *schemaWriter) value(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.reference(fd)
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	case protoreflect.StringKind:
		return textSchema(fd)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		s := object{"type": "number"}
		limit(s, fd)
		if w.config || RuleOf(fd).Max != nil {
			return s
		}
		return object{"anyOf": []object{s, {"enum": []string{"NaN", "Infinity", "-Infinity"}}}}
	}
	s := object{"type": "integer"}
	if !w.config && wide(fd.Kind()) {
		s = object{"type": []string{"integer", "string"}, "pattern": "^-?[0-9]+$"}
	}
	limit(s, fd)
	return s
}

func (w *schemaWriter) reference(fd protoreflect.FieldDescriptor) object {
	md := fd.Message()
	switch md.FullName() {
	case durationName:
		if w.config {
			return object{"type": "string", "pattern": goDuration}
		}
		return object{"type": "string", "pattern": jsonDuration}
	case timestampName:
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.Struct":
		return object{"type": "object"}
	case "google.protobuf.ListValue":
		return object{"type": "array"}
	case "google.protobuf.Value":
		return object{}
	}
	return object{"$ref": w.define(md)}
}

func textSchema(fd protoreflect.FieldDescriptor) object {
	s, rule := object{"type": "string"}, RuleOf(fd)
	if len(rule.GetIn()) > 0 {
		s["enum"] = rule.GetIn()
	}
	if p := rule.GetPattern(); p != "" {
		s["pattern"] = "^(?:" + p + ")$"
	}
	if fd.IsList() {
		return s
	}
	switch {
	case rule.Min != nil:
		s["minLength"] = int64(rule.GetMin())
	case rule.GetRequired():
		s["minLength"] = 1
	}
	if rule.Max != nil {
		s["maxLength"] = int64(rule.GetMax())
	}
	return s
}

// limit adds the bounds of a number set by its rule or type. 64-bit bounds other than 0 are left
// out, because JSON numbers cannot represent them.
func limit(s object, fd protoreflect.FieldDescriptor) {
	low, high := bounds(fd)
	if fd.IsList() {
		low, high = math.Inf(-1), math.Inf(1)
	}
	if !floating(fd.Kind()) {
		l, h := integerBounds(fd.Kind())
		low, high = max(low, l), min(high, h)
	}
	if low > math.MinInt64 {
		s["minimum"] = low
	}
	if high < math.MaxInt64 {
		s["maximum"] = high
	}
}

func floating(k protoreflect.Kind) bool {
	return k == protoreflect.DoubleKind || k == protoreflect.FloatKind
}

func defaultJSON(fd protoreflect.FieldDescriptor, text string) any {
	if !fd.IsList() && (Textual(fd) || fd.Kind() == protoreflect.StringKind) {
		return text
	}
	return json.RawMessage(text)
}
