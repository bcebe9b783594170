package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// reader converts a document to a tree.
type reader struct {
	file     string
	list     []Kind
	kinds    map[string]Kind
	implicit []string
	problems Problems
	broken   bool
	actors   map[string]string // kind of each actor in the file, "" if it is invalid
	groups   map[string]bool
	readings []reading
	fields   map[string]string             // names of fields within their configs, shared
	shared   map[string]protoreflect.Value // list elements, by their contents
	files    map[string]loaded             // named by configs
	foreign  Problems                      // in these files
}

func newReader(file string, kinds []Kind, implicit []string) *reader {
	r := &reader{file: file, list: kinds, implicit: implicit,
		kinds: map[string]Kind{}, actors: map[string]string{}, groups: map[string]bool{}, fields: map[string]string{}, shared: map[string]protoreflect.Value{}, files: map[string]loaded{}}
	for _, k := range kinds {
		r.kinds[k.Name] = k
	}
	return r
}

func (r *reader) problem(line int, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) read(text []byte) *Node {
	s := newSyntax(text, r.problem)
	doc := s.document()
	r.broken = s.broken
	root := r.group("", "", doc, &gatewayv1.Gateway{})
	r.addImplicit(root)
	if !r.broken {
		r.checkNames()
		r.checkClaims()
		r.checkBeside(root)
	}
	return root
}

// group reads a table without kind: settings of its message, and children.
func (r *reader) group(path, key string, v *value, config proto.Message) *Node {
	n := &Node{Path: path, Config: config, Line: v.line}
	r.groups[path] = true
	schemas.Defaults(config)
	settings := newTable(v.origin, v.line)
	md := config.ProtoReflect().Descriptor()
	kindless := path != "" && r.kindless(v, key, md)
	for i, e := range v.entries {
		at := join(key, e.key)
		fd := schemas.FieldByKey(md, e.key)
		switch {
		case fd != nil && e.val.form == tableForm && (fd.Message() == nil || fd.IsList() || schemas.Textual(fd) || hasKind(e.val)):
			r.problem(e.line, at, "%q is a setting here, an actor or group needs another name", e.key)
		case fd != nil:
			settings.add(e.key, e.line, e.val)
		case e.val.form == tableForm:
			if child := r.child(path, at, e); child != nil {
				n.Children = append(n.Children, child)
			}
			v.entries[i].val = nil // done with it: the memory of one child suffices for the next
		case e.val.tables() && e.val.origin != inline && len(r.kindsWith(e.key)) == 0:
			r.problem(e.line, at, "an actor or group is a single table: [%s] instead of [[%s]]", at, at)
		case kindless: // reported once, instead of once per key
		default:
			r.unknownSetting(e, at, schemas.Keys(md))
		}
	}
	d := r.fill(n, key, settings)
	n.Config = r.share(protoreflect.ValueOfMessage(config.ProtoReflect())).Message().Interface()
	if withLadder, ok := config.(interface{ GetLadder() []string }); ok {
		d.checkLadder(withLadder.GetLadder())
	}
	return n
}

func hasKind(v *value) bool {
	_, ok := v.get("kind")
	return ok
}

func (r *reader) unknownSetting(e entry, at string, settings []string) {
	if e.key == "kind" {
		r.problem(e.line, at, "kind must be in a table: the top of the file is not an actor")
		return
	}
	hint := schemas.DidYouMean(e.key, settings)
	if hint == "" && r.broken {
		return // the line with kind may be one that could not be read
	}
	if hint == "" {
		hint = fmt.Sprintf("; a table without kind is a group and may hold %s", schemas.Quoted(settings))
		if kinds := r.kindsWith(e.key); len(kinds) > 0 {
			hint = fmt.Sprintf(" of a group; is kind = %s missing?", schemas.Quoted(kinds))
		}
	}
	r.problem(e.line, at, "unknown key%s", hint)
}

// kindless reports a table as an actor without kind if several of its keys are keys of actors.
func (r *reader) kindless(v *value, at string, settings protoreflect.MessageDescriptor) bool {
	var keys []string
	line := 0
	for _, e := range v.entries {
		if schemas.FieldByKey(settings, e.key) == nil && e.val.form != tableForm {
			keys = append(keys, e.key)
			line = cmp.Or(line, e.line)
		}
	}
	if len(keys) < 2 || r.broken {
		return false
	}
	kinds := r.kindsWith(keys...)
	if len(kinds) > 0 {
		r.problem(line, at, "kind is missing: %s are keys of kind %s", strings.ReplaceAll(schemas.Quoted(keys), " or ", " and "), schemas.Quoted(kinds))
	}
	return len(kinds) > 0
}

// kindsWith returns up to three kinds that have all of these keys.
func (r *reader) kindsWith(keys ...string) []string {
	var kinds []string
	for _, k := range r.list {
		unknown := func(key string) bool { return schemas.FieldByKey(k.Config.Descriptor(), key) == nil }
		if !slices.ContainsFunc(keys, unknown) && len(kinds) < 3 {
			kinds = append(kinds, k.Name)
		}
	}
	return kinds
}

const (
	root      = "root"      // the supervisor's name of the top group
	catalogue = "catalogue" // the host's name of the list of all actors
)

var token = regexp.MustCompile(`^[a-z0-9-]+$`)

// child reads the table of an actor or group; it returns nil if the table is neither.
func (r *reader) child(parent, at string, e entry) *Node {
	path := e.key
	if parent != "" {
		path = parent + "/" + e.key
	}
	if !token.MatchString(e.key) {
		r.badName(e, at)
	}
	switch path {
	case root:
		r.problem(e.line, at, "%q is the name of the tree's root; choose another", root)
	case catalogue:
		r.problem(e.line, at, "%q is reserved for the catalogue; choose another name", catalogue)
	}
	kind, ok := e.val.get("kind")
	switch {
	case ok:
		return r.actor(path, at, e, kind)
	case parent == "" && slices.Contains(r.implicit, e.key):
		r.problem(e.val.line, at, "kind = %q is missing", e.key)
		return r.actor(path, at, e, entry{"kind", e.val.line, &value{form: textForm, text: e.key}})
	}
	return r.group(path, at, e.val, &gatewayv1.Group{})
}

func (r *reader) badName(e entry, at string) {
	better := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(e.key), "-"), "-")
	hint := ""
	if better != "" {
		hint = fmt.Sprintf(", try %q", better)
	}
	r.problem(e.line, at, "%q cannot be a name: only a to z, 0 to 9 and \"-\" are allowed%s", e.key, hint)
}

// actor reads a table with kind.
func (r *reader) actor(path, at string, e, kind entry) *Node {
	r.actors[path] = ""
	if kind.val.form != textForm {
		r.problem(kind.line, join(at, "kind"), "expected a text, got %s", kind.val.what())
		return nil
	}
	k, ok := r.kinds[kind.val.text]
	if !ok {
		r.problem(kind.line, join(at, "kind"), "unknown kind %q%s", kind.val.text, r.otherKinds(kind.val.text))
		return nil
	}
	switch {
	case k.Name == path:
	case slices.Contains(r.implicit, path):
		r.problem(kind.line, join(at, "kind"), "%q always runs and must be of kind %q, got %q", path, path, k.Name)
	case slices.Contains(r.implicit, k.Name):
		r.problem(kind.line, join(at, "kind"), "there is only one actor of kind %q, which always runs with the name %q: write its table as [%s]", k.Name, k.Name, k.Name)
	}
	r.actors[path] = k.Name
	n := &Node{Path: path, Kind: k.Name, Config: k.Config.New().Interface(), Line: e.val.line}
	schemas.Defaults(n.Config)
	settings := newTable(e.val.origin, e.val.line)
	for _, s := range e.val.entries {
		if s.key != "kind" {
			settings.add(s.key, s.line, s.val)
		}
	}
	r.fill(n, at, settings)
	return n
}

func (r *reader) otherKinds(kind string) string {
	var names []string
	for _, k := range r.list {
		names = append(names, k.Name)
	}
	if hint := schemas.DidYouMean(kind, names); hint != "" {
		return hint
	}
	return "; there are " + strings.ReplaceAll(schemas.Quoted(names), " or ", " and ")
}

// addImplicit puts the actors that always run first.
func (r *reader) addImplicit(root *Node) {
	var front []*Node
	for _, name := range r.implicit {
		i := slices.IndexFunc(root.Children, func(n *Node) bool { return n.Path == name })
		if i >= 0 {
			front = append(front, root.Children[i])
			root.Children = slices.Delete(root.Children, i, i+1)
			continue
		}
		if k, ok := r.kinds[name]; ok && !r.groups[name] {
			n := &Node{Path: name, Kind: name, Config: k.Config.New().Interface()}
			schemas.Defaults(n.Config)
			r.actors[name] = name
			front = append(front, n)
		}
	}
	root.Children = append(front, root.Children...)
}
