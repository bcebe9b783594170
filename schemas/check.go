package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	fieldv1 "gatewayd/schemas/field/v1"
)

// Violation is one field that violates its rule.
type Violation struct {
	// Field is the dotted path of keys, e.g. "points[2].name".
	Field string
	// Message says what is wrong and what is allowed.
	Message string
	// Other is the field it conflicts with, if the value must be unique.
	Other string
	// Warning says that the setting works, but probably not as intended.
	Warning bool
}

func (v Violation) Error() string { return v.Field + ": " + v.Message }

// Check returns all violations in m, in the order of the schema. Call Defaults first: a field that
// has a default but is still empty was emptied on purpose. A required number cannot be
// distinguished from a zero, so only its range is checked; it counts as missing only if zero is out
// of range.
func Check(m proto.Message) []Violation {
	c := checker{root: m.ProtoReflect()}
	c.message("", c.root)
	return c.found
}

type checker struct {
	root  protoreflect.Message
	found []Violation
}

func (c *checker) add(field, format string, args ...any) {
	c.found = append(c.found, Violation{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) message(at string, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		field, rule := join(at, Key(fd)), RuleOf(fd)
		if !given(m, fd, rule) {
			switch number := !fd.HasPresence() && !fd.IsList() && fd.Kind() != protoreflect.StringKind && fd.Kind() != protoreflect.BoolKind; {
			case rule.GetRequired() && number:
				c.add(field, "is required and never 0: %s", allowed(fd))
			case rule.GetRequired():
				c.add(field, "is required")
			}
			continue
		}
		switch {
		case fd.IsList():
			c.list(field, fd, rule, m.Get(fd).List())
		default:
			c.value(field, fd, rule, m.Get(fd))
		}
	}
}

// given reports whether a field holds something to check.
func given(m protoreflect.Message, fd protoreflect.FieldDescriptor, rule *fieldv1.Rule) bool {
	if m.Has(fd) {
		return true
	}
	if fd.HasPresence() || fd.IsList() || fd.Kind() == protoreflect.BoolKind {
		return false
	}
	if fd.Kind() == protoreflect.StringKind {
		return rule.GetDefault() != "" && !rule.GetRequired()
	}
	return rule.GetDefault() != "" || rule.GetRequired() && rule.GetMin() <= 0
}

func (c *checker) list(field string, fd protoreflect.FieldDescriptor, rule *fieldv1.Rule, list protoreflect.List) {
	c.length(field, fd, rule, list.Len())
	for i := range list.Len() {
		at := element(field, i)
		if plainMessage(fd) {
			c.message(at, list.Get(i).Message())
		} else if fd.Kind() == protoreflect.StringKind {
			c.text(at, rule, list.Get(i).String())
		}
	}
	if rule.GetUnique() != "" && plainMessage(fd) {
		c.unique(field, FieldByKey(fd.Message(), kebab(rule.GetUnique())), list)
	}
}

// unique checks the given field of all elements; an empty value is not checked.
func (c *checker) unique(field string, key protoreflect.FieldDescriptor, list protoreflect.List) {
	first := map[string]int{}
	for i := range list.Len() {
		if key == nil || !list.Get(i).Message().Has(key) {
			continue
		}
		name := list.Get(i).Message().Get(key).String()
		j, twice := first[name]
		if !twice {
			first[name] = i
			continue
		}
		c.found = append(c.found, Violation{
			Field:   join(element(field, i), Key(key)),
			Message: fmt.Sprintf("%q is used twice, first in %s", name, element(field, j)),
			Other:   join(element(field, j), Key(key)),
		})
	}
}

func (c *checker) value(field string, fd protoreflect.FieldDescriptor, rule *fieldv1.Rule, v protoreflect.Value) {
	switch {
	case plainMessage(fd):
		c.message(field, v.Message())
	case IsDuration(fd):
		d := durationOf(v.Message())
		if outside(d.Seconds(), fd) {
			c.add(field, "%s is out of range: %s", DurationText(d), allowed(fd))
		}
	case fd.Kind() == protoreflect.StringKind:
		if c.length(field, fd, rule, utf8.RuneCountInString(v.String())) {
			c.text(field, rule, v.String())
		}
	default:
		if f, ok := numeric(v); ok && outside(f, fd) {
			c.add(field, "%s is out of range: %s", numberText(v), allowed(fd))
		}
	}
}

func (c *checker) text(field string, rule *fieldv1.Rule, s string) {
	if in := rule.GetIn(); len(in) > 0 && !slices.Contains(in, s) {
		c.add(field, "%q is not one of %s%s", s, Quoted(in), DidYouMean(s, in))
		return
	}
	if p := rule.GetPattern(); p != "" && !matches(p, s) {
		shown := strconv.Quote(s)
		if rule.GetSecret() {
			shown = "the secret"
		}
		c.add(field, "%s is invalid: want %s", shown, rule.GetForm())
		return
	}
	if rule.GetListens() != "" {
		c.listens(field, rule, s)
	}
	if list, key, ok := strings.Cut(rule.GetNames(), "."); ok {
		if names := elementNames(c.root, list, key); !slices.Contains(names, s) {
			c.add(field, "%q is not in %s%s%s", s, kebab(list), listed(names), DidYouMean(s, names))
		}
	}
}

// patterns caches compiled patterns of rules. Five hundred units are checked by the same few, and
// the number of patterns is fixed at build time.
var patterns sync.Map // string to *regexp.Regexp

func matches(pattern, s string) bool {
	re, known := patterns.Load(pattern)
	if !known {
		made, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return false
		}
		re, _ = patterns.LoadOrStore(pattern, made)
	}
	return re.(*regexp.Regexp).MatchString(s)
}

func (c *checker) length(field string, fd protoreflect.FieldDescriptor, rule *fieldv1.Rule, n int) bool {
	if (rule.Min == nil || float64(n) >= rule.GetMin()) && (rule.Max == nil || float64(n) <= rule.GetMax()) {
		return true
	}
	word := "values"
	if !fd.IsList() {
		word = "characters"
	}
	c.add(field, "length %d is out of range: %s %s", n, allowed(fd), word)
	return false
}

// elementNames returns the values of key in the elements of root's list.
func elementNames(root protoreflect.Message, list, key string) []string {
	fd := FieldByKey(root.Descriptor(), kebab(list))
	if fd == nil || !fd.IsList() || fd.Message() == nil {
		return nil
	}
	kd := FieldByKey(fd.Message(), kebab(key))
	if kd == nil {
		return nil
	}
	var names []string
	for l, i := root.Get(fd).List(), 0; i < l.Len(); i++ {
		names = append(names, l.Get(i).Message().Get(kd).String())
	}
	return names
}

func durationOf(m protoreflect.Message) time.Duration {
	if d, ok := m.Interface().(*durationpb.Duration); ok {
		return d.AsDuration()
	}
	fields := m.Descriptor().Fields()
	return (&durationpb.Duration{
		Seconds: m.Get(fields.ByName("seconds")).Int(),
		Nanos:   int32(m.Get(fields.ByName("nanos")).Int()),
	}).AsDuration()
}
