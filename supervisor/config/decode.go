package config

import (
	"fmt"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
	"gatewayd/supervisor/ladder"
)

// decoder reads the settings of one node into its config.
type decoder struct {
	*reader
	reading
}

// fill reads settings into the node's config and checks them.
func (r *reader) fill(n *Node, key string, settings *value) *decoder {
	d := &decoder{r, reading{n, key, map[string]int{}, map[string]bool{}}}
	d.message("", n.Config.ProtoReflect(), settings)
	whole := d.complete(n)
	known := maps.Clone(d.wrong)
	for _, v := range schemas.Check(n.Config) {
		line, given := d.lines[v.Field]
		if !given || known[v.Field] {
			continue
		}
		if v.Message == "is required" {
			v.Message = "is required and must not be empty"
		}
		if other := d.lines[v.Other]; other > 0 {
			v.Message += fmt.Sprintf(" (line %d)", other)
		}
		d.fail(line, v.Field, "%s", v.Message)
	}
	if whole {
		d.checkKind(n)
	}
	r.shareTimes(n.Config.ProtoReflect())
	r.readings = append(r.readings, d.reading)
	return d
}

func (d *decoder) fail(line int, field, format string, args ...any) {
	d.wrong[field] = true
	d.problem(line, d.full(field), format, args...)
}

// place records the line of a field. Equal field names share one string: the lines are kept until
// the whole file has been read, and thousands of short strings would fragment the heap.
func (d *decoder) place(field string, line int) {
	one, known := d.fields[field]
	if !known {
		one = field
		d.fields[field] = one
	}
	d.lines[one] = line
}

func (d *decoder) message(at string, m protoreflect.Message, t *value) {
	md := m.Descriptor()
	for _, e := range t.entries {
		field := join(at, e.key)
		fd := schemas.FieldByKey(md, e.key)
		if fd == nil {
			d.unknownKey(e, field, md)
			continue
		}
		d.place(field, e.line)
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() && m.WhichOneof(one) != nil {
			d.fail(e.line, field, "cannot be used together with %q", schemas.Key(m.WhichOneof(one)))
			continue
		}
		d.field(field, m, fd, e)
	}
	d.required(at, md, t)
}

func (d *decoder) unknownKey(e entry, field string, md protoreflect.MessageDescriptor) {
	if e.val.form == tableForm && hasKind(e.val) {
		d.fail(e.line, field, "an actor cannot be inside an actor; only groups have children")
		return
	}
	hint := schemas.DidYouMean(e.key, schemas.Keys(md))
	if keys := schemas.Keys(md); hint == "" && len(keys) > 0 {
		hint = "; allowed are " + schemas.Quoted(keys)
	}
	d.fail(e.line, field, "unknown key%s", hint)
}

// required checks what is in the file, because a message cannot tell an absent number from a zero.
func (d *decoder) required(at string, md protoreflect.MessageDescriptor, t *value) {
	if d.broken {
		return
	}
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !schemas.RuleOf(fd).GetRequired() {
			continue
		}
		if _, given := t.get(schemas.Key(fd)); !given {
			d.fail(t.line, join(at, schemas.Key(fd)), "is required: %s%s", schemas.Expected(fd), meaning(fd))
		}
	}
}

// meaning returns the first sentence of a field's comment.
func meaning(fd protoreflect.FieldDescriptor) string {
	doc, _, _ := strings.Cut(schemas.Doc(string(fd.FullName())), ". ")
	if doc = strings.TrimSuffix(doc, "."); doc == "" {
		return ""
	}
	return " (" + doc + ")"
}

func (d *decoder) field(field string, m protoreflect.Message, fd protoreflect.FieldDescriptor, e entry) {
	switch {
	case fd.IsList():
		d.list(field, m, fd, e)
	case fd.Message() != nil && !schemas.Textual(fd):
		if e.val.form != tableForm {
			d.fail(e.line, field, "expected a table, got %s", e.val.what())
			return
		}
		sub := m.Mutable(fd).Message()
		schemas.Defaults(sub.Interface())
		d.message(field, sub, e.val)
	default:
		if v, ok := d.scalar(field, fd, e.val); ok {
			m.Set(fd, v)
		}
	}
}

func (d *decoder) list(field string, m protoreflect.Message, fd protoreflect.FieldDescriptor, e entry) {
	if e.val.form != listForm {
		d.fail(e.line, field, "expected a list, got %s", e.val.what())
		return
	}
	list := m.NewField(fd).List()
	for i, item := range e.val.items {
		at := nth(field, i)
		d.place(at, item.line)
		if fd.Message() == nil || schemas.Textual(fd) {
			v, ok := d.scalar(at, fd, item)
			if !ok {
				v = list.NewElement()
			}
			list.Append(v)
			continue
		}
		el := list.NewElement()
		schemas.Defaults(el.Message().Interface())
		if item.form == tableForm {
			d.message(at, el.Message(), item)
			el = d.share(el)
		} else {
			d.fail(item.line, at, "expected a table, got %s", item.what())
		}
		list.Append(el)
	}
	m.Set(fd, protoreflect.ValueOfList(list))
}

// share returns an equal message read earlier, if any: a hundred meters of one type share one list
// of points. Configs are never modified in place.
func (r *reader) share(el protoreflect.Value) protoreflect.Value {
	m := el.Message()
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		return el
	}
	key := string(m.Descriptor().FullName()) + " " + string(text)
	if known, ok := r.shared[key]; ok {
		return known
	}
	r.shared[key] = el
	return el
}

// shareTimes is share for the durations and times of a config, most of which have the default
// value.
func (r *reader) shareTimes(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !fd.IsList() && schemas.Textual(fd) {
			m.Set(fd, r.share(v))
		}
		return true
	})
}

func (d *decoder) scalar(field string, fd protoreflect.FieldDescriptor, v *value) (protoreflect.Value, bool) {
	plain, ok := v.scalar()
	if !ok {
		if v.form == integerForm {
			d.fail(v.line, field, "%s is too large", v.text)
		} else {
			d.fail(v.line, field, "expected %s, got %s", schemas.Expected(fd), v.what())
		}
		return protoreflect.Value{}, false
	}
	el, err := schemas.Scalar(fd, plain)
	if err != nil {
		d.fail(v.line, field, "%v", err)
		return protoreflect.Value{}, false
	}
	return el, true
}

// checkLadder checks each step of a ladder, and then their order.
func (d *decoder) checkLadder(steps []string) {
	found := len(d.problems)
	for i, step := range steps {
		at := nth("ladder", i)
		if d.wrong["ladder"] || d.wrong[at] {
			return
		}
		if _, err := ladder.Parse([]string{step}); err != nil {
			d.fail(d.lines[at], at, "%v", err)
		}
	}
	if _, err := ladder.Parse(steps); err != nil && found == len(d.problems) {
		d.fail(d.lines["ladder"], "ladder", "%v", err)
	}
}
