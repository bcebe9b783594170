package schemas

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Table returns a Markdown table of the keys of a config message, for READMEs: key, value, default,
// meaning. Keys within a table are dotted, those within a list of tables follow [].
func Table(md protoreflect.MessageDescriptor) string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, r := range Rows(md, Key) {
		def := r.Default
		if def != "" && !r.Required {
			def = "`" + def + "`"
		}
		meaning := strings.ReplaceAll(r.Doc, "|", `\|`)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Key, strings.ReplaceAll(r.Holds, "|", `\|`), def, meaning)
	}
	return b.String()
}

// Row describes one field.
type Row struct {
	// Key is the dotted path of the field.
	Key string
	// Holds describes in words what the field may hold.
	Holds string
	// Default is the value of an absent field; "required" if it must be given.
	Default  string
	Required bool
	// OneOf is the name of the oneof that contains it; empty for most fields.
	OneOf string
	// Doc is the field's comment.
	Doc string
}

// Rows returns the fields of a message and of those within it; name returns the name of a field,
// such as Key or its JSON name.
func Rows(md protoreflect.MessageDescriptor, name func(protoreflect.FieldDescriptor) string) []Row {
	return rows(nil, md, name, "", nil)
}

func rows(all []Row, md protoreflect.MessageDescriptor, name func(protoreflect.FieldDescriptor) string, at string, within []protoreflect.FullName) []Row {
	if slices.Contains(within, md.FullName()) {
		return all
	}
	within = append(within, md.FullName())
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		rule := RuleOf(fd)
		r := Row{Key: join(at, name(fd)), Holds: Holds(fd), Default: rule.GetDefault(), Required: rule.GetRequired(), Doc: Doc(string(fd.FullName()))}
		if r.Required {
			r.Default = "required"
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			r.OneOf = string(one.Name())
		}
		all = append(all, r)
		if plainMessage(fd) {
			key := r.Key
			if fd.IsList() {
				key += "[]"
			}
			all = rows(all, fd.Message(), name, key, within)
		}
	}
	return all
}

// Holds describes in words what a field may hold, e.g. "a whole number, 50 to 12000000 Bd" or
// `"none", "even" or "odd"`.
func Holds(fd protoreflect.FieldDescriptor) string {
	rule, s := RuleOf(fd), one(fd)
	if fd.IsList() {
		s = "a list: " + s
	}
	text := fd.Kind() == protoreflect.StringKind && !fd.IsList()
	switch {
	case rule.Max == nil && (rule.Min == nil || text && rule.GetMin() == 1):
		if unit := rule.GetUnit(); unit != "" {
			s += ", in " + unit
		}
	case fd.IsList():
		s += ", " + allowed(fd) + " of them"
	case text:
		s += ", " + allowed(fd) + " characters"
	default:
		s += ", " + allowed(fd)
	}
	return s
}

// one describes what one value of a field may be.
func one(fd protoreflect.FieldDescriptor) string {
	rule := RuleOf(fd)
	list, key, _ := strings.Cut(rule.GetNames(), ".")
	switch {
	case len(rule.GetIn()) > 0:
		return Quoted(rule.GetIn())
	case rule.GetPattern() != "":
		return rule.GetForm()
	case rule.GetActor() == "*":
		return "the path of an actor"
	case rule.GetActor() != "":
		return "the path of an actor that offers " + rule.GetActor()
	case list != "":
		return "the " + kebab(key) + " of one of the " + kebab(list)
	case IsDuration(fd):
		return "a duration"
	}
	return Expected(fd)
}
