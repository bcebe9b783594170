package look

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// methodOf returns the method of this name from a description.
func methodOf(d *actorv1.DescribeResponse, name string) (*actorv1.Method, error) {
	var names []string
	for _, m := range d.Methods {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("%s has no method %q%s; its methods are %s", d.Entry.GetPath(), name,
		schemas.DidYouMean(name, names), strings.Join(names, ", "))
}

// printMethod prints all that is needed to call a method.
func printMethod(w io.Writer, path string, m *actorv1.Method) error {
	p := terminal.Painter(w)
	fmt.Fprintf(w, "%s  %s\n\n", p.In(terminal.Bold, path+" "+m.Name), strings.Join(strings.Fields(m.Doc), " "))
	request, err := messageOf(m.Request)
	if err != nil {
		return err
	}
	answer, err := messageOf(m.Response)
	if err != nil {
		return err
	}
	if err := printFields(w, p, "REQUEST", request); err != nil {
		return err
	}
	title := "ANSWER"
	if m.Stream {
		title = "EACH ANSWER"
	}
	if err := printFields(w, p, title, answer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n  %s\n", p.In(terminal.Bold, "EXAMPLE"), exampleCall(path, m.Name, request))
	return err
}

func messageOf(name string) (protoreflect.MessageDescriptor, error) {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("this gatewayd does not know the message %s: use the version that runs on the gateway", name)
	}
	return mt.Descriptor(), nil
}

func printFields(w io.Writer, p terminal.Paint, title string, md protoreflect.MessageDescriptor) error {
	all := schemas.Rows(md, protoreflect.FieldDescriptor.JSONName)
	if len(all) == 0 {
		_, err := fmt.Fprintf(w, "%s  nothing\n\n", p.In(terminal.Bold, title))
		return err
	}
	rows := [][]terminal.Cell{terminal.Row(title, "VALUE", "DEFAULT", "MEANING")}
	for _, r := range all {
		if r.OneOf != "" {
			r.Default = "one " + r.OneOf
		}
		rows = append(rows, terminal.Row(r.Key, r.Holds, r.Default, r.Doc))
	}
	if err := terminal.Table(w, p, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// exampleCall returns a call with the fields a request needs: those that are required, or have no
// default that would do.
func exampleCall(path, method string, md protoreflect.MessageDescriptor) string {
	call := "gatewayd call " + path + " " + method
	if md.FullName() == (&actorv1.UpdateConfigRequest{}).ProtoReflect().Descriptor().FullName() {
		return call + ` 'every = "5s"'    or: '{"config":{"every":"5s"}}'`
	}
	if object := exampleObject(md); object != "{}" {
		call += " '" + object + "'"
	}
	return call
}

func exampleObject(md protoreflect.MessageDescriptor) string {
	var parts []string
	fields, chosen := md.Fields(), map[string]bool{}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if chosen[string(one.Name())] {
				continue
			}
			chosen[string(one.Name())] = true
		} else if !needed(fd) {
			continue
		}
		value := exampleValue(fd)
		if fd.IsList() {
			value = "[" + value + "]"
		}
		parts = append(parts, strconv.Quote(fd.JSONName())+":"+value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func needed(fd protoreflect.FieldDescriptor) bool {
	rule := schemas.RuleOf(fd)
	switch {
	case rule.GetRequired():
		return true
	case fd.IsList(), fd.HasPresence(), rule.GetDefault() != "":
		return false
	}
	return fd.Kind() == protoreflect.Uint32Kind
}

func exampleValue(fd protoreflect.FieldDescriptor) string {
	rule := schemas.RuleOf(fd)
	switch {
	case schemas.IsDuration(fd):
		return `"10s"`
	case schemas.Textual(fd):
		return `"2026-01-31T12:00:00Z"`
	case fd.Message() != nil:
		return exampleObject(fd.Message())
	case fd.Kind() == protoreflect.BoolKind:
		return "true"
	case fd.Kind() != protoreflect.StringKind:
		if fd.IsList() { // the rule is about the length of the list
			return "1"
		}
		return strconv.FormatFloat(max(rule.GetMin(), 0), 'f', -1, 64)
	case len(rule.GetIn()) > 0:
		text, _ := json.Marshal(rule.GetIn()[0])
		return string(text)
	}
	return `"…"`
}
