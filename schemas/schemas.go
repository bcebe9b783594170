// Package schemas defines the messages and services of the gateway in its sub-packages, and what
// their field rules mean. It fills in defaults, checks values, merges changes, and generates
// schemas and descriptions for editors and people. It knows no bus, no actor and no file.
package schemas

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	fieldv1 "gatewayd/schemas/field/v1"
)

const (
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
)

// Key returns a field's name as in the config file, e.g. "data-bits".
func Key(fd protoreflect.FieldDescriptor) string {
	return kebab(string(fd.Name()))
}

// Keys returns the keys of a message, in the order of the schema.
func Keys(md protoreflect.MessageDescriptor) []string {
	fields := md.Fields()
	keys := make([]string, fields.Len())
	for i := range keys {
		keys[i] = Key(fields.Get(i))
	}
	return keys
}

// FieldByKey returns the field that a key names, or nil.
func FieldByKey(md protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if strings.Contains(key, "_") {
		return nil
	}
	return md.Fields().ByName(protoreflect.Name(strings.ReplaceAll(key, "-", "_")))
}

// RuleOf returns the rule of a field; an empty one if it has none.
func RuleOf(fd protoreflect.FieldDescriptor) *fieldv1.Rule {
	if r, _ := proto.GetExtension(fd.Options(), fieldv1.E_Rule).(*fieldv1.Rule); r != nil {
		return r
	}
	return noRule
}

// noRule is the rule of fields without one. Rules must not be modified.
var noRule = &fieldv1.Rule{}

// IsDuration reports whether a field holds a duration, written as text like "1m30s".
func IsDuration(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == durationName
}

// plainMessage reports whether a field holds a message with fields of its own.
func plainMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().ParentFile().Package() != "google.protobuf"
}

func kebab(name string) string { return strings.ReplaceAll(name, "_", "-") }

func element(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// Textual reports whether a field holds a message that is written as text: a duration or a time.
func Textual(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && (fd.Message().FullName() == durationName || fd.Message().FullName() == timestampName)
}
