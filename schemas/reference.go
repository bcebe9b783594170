package schemas

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Reference is a field that names an actor.
type Reference struct {
	// Field is the dotted path of keys, e.g. "link".
	Field string
	// Name is the path of the actor named.
	Name string
	// Service is what that actor must offer; "*" if any actor will do.
	Service string
}

// References returns the actors that m names, in the order of the schema.
func References(m proto.Message) []Reference {
	var refs []Reference
	eachField(m.ProtoReflect(), "", func(field string, fd protoreflect.FieldDescriptor, v protoreflect.Value, _ protoreflect.Message) {
		service := RuleOf(fd).GetActor()
		if service == "" {
			return
		}
		if !fd.IsList() {
			refs = append(refs, Reference{field, v.String(), service})
			return
		}
		for i := range v.List().Len() {
			refs = append(refs, Reference{element(field, i), v.List().Get(i).String(), service})
		}
	})
	return refs
}

// Redact clears the fields of m that are secret.
func Redact(m proto.Message) {
	eachField(m.ProtoReflect(), "", func(_ string, fd protoreflect.FieldDescriptor, _ protoreflect.Value, in protoreflect.Message) {
		if RuleOf(fd).GetSecret() {
			in.Clear(fd)
		}
	})
}

// eachField visits the present fields of m and of the messages it contains.
func eachField(m protoreflect.Message, at string,
	visit func(field string, fd protoreflect.FieldDescriptor, v protoreflect.Value, in protoreflect.Message)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		field, v := join(at, Key(fd)), m.Get(fd)
		switch {
		case !plainMessage(fd):
			visit(field, fd, v, m)
		case fd.IsList():
			for i := range v.List().Len() {
				eachField(v.List().Get(i).Message(), element(field, i), visit)
			}
		default:
			eachField(v.Message(), field, visit)
		}
	}
}
