package schemas

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Defaults sets every absent field that has a default, in m and in the messages it contains. A
// plain number, text or bool that is zero counts as absent. To keep an explicit zero, apply
// Defaults to a new message first and then set the fields, as Merge does.
func Defaults(m proto.Message) {
	defaults(m.ProtoReflect())
}

func defaults(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if plainMessage(fd) {
			defaultsWithin(m, fd)
		} else if !m.Has(fd) {
			setDefault(m, fd)
		}
	}
}

func defaultsWithin(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if !m.Has(fd) {
		return
	}
	if !fd.IsList() {
		defaults(m.Mutable(fd).Message())
		return
	}
	for list, i := m.Get(fd).List(), 0; i < list.Len(); i++ {
		if el := list.Get(i).Message(); el.IsValid() {
			defaults(el)
		}
	}
}

// setDefault leaves the field absent if it has no default. A test of this package parses every
// default of every schema, so errors cannot occur here.
func setDefault(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	text := RuleOf(fd).GetDefault()
	if text == "" {
		return
	}
	if !fd.IsList() {
		if v, err := parseText(fd, text); err == nil {
			m.Set(fd, v)
		}
		return
	}
	texts, err := parseTexts(text)
	if err != nil {
		return
	}
	list := m.Mutable(fd).List()
	for _, t := range texts {
		if v, err := parseText(fd, t); err == nil {
			list.Append(v)
		}
	}
}
