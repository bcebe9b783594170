package schemas

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Table is a Markdown table of the keys of a config message, for READMEs: key,
// what it holds, default, meaning. Keys within a table are dotted, those within
// a list of tables follow [].
func Table(md protoreflect.MessageDescriptor) string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	tableRows(&b, md, "", nil)
	return b.String()
}

func tableRows(b *strings.Builder, md protoreflect.MessageDescriptor, at string, within []protoreflect.FullName) {
	for _, name := range within {
		if name == md.FullName() {
			return
		}
	}
	within = append(within, md.FullName())
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		key, rule := join(at, Key(fd)), RuleOf(fd)
		def := rule.GetDefault()
		switch {
		case rule.GetRequired():
			def = "required"
		case def != "":
			def = "`" + def + "`"
		}
		meaning := strings.ReplaceAll(Doc(string(fd.FullName())), "|", `\|`)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, strings.ReplaceAll(Holds(fd), "|", `\|`), def, meaning)
		if plainMessage(fd) {
			if fd.IsList() {
				key += "[]"
			}
			tableRows(b, fd.Message(), key, within)
		}
	}
}

// Holds says in words what a field may hold, e.g. "a whole number, 50 to 12000000
// Bd" or `"none", "even" or "odd"`.
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

// one says what one value of a field may be.
func one(fd protoreflect.FieldDescriptor) string {
	rule := RuleOf(fd)
	list, key, _ := strings.Cut(rule.GetNames(), ".")
	switch {
	case len(rule.GetIn()) > 0:
		return Quoted(rule.GetIn())
	case rule.GetPattern() != "":
		return "a text that matches `" + rule.GetPattern() + "`"
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
