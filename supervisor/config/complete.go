package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
)

// loaded is a file that configs name.
type loaded struct {
	message proto.Message
	err     error
}

// complete puts into the node's config what files that it names say.
func (d *decoder) complete(n *Node) {
	k := d.kinds[n.Kind]
	if k.Complete == nil || d.broken {
		return
	}
	for _, v := range k.Complete(n.Config, d.load) {
		d.wrong[v.Field] = true
		d.problem(d.lineOf(n, v.Field), d.full(v.Field), "%s", v.Message)
	}
}

// checkKind finds what the kind knows to be wrong with a config that is in order
// field by field.
func (d *decoder) checkKind(n *Node) {
	k := d.kinds[n.Kind]
	if k.Check == nil || d.broken {
		return
	}
	for _, v := range k.Check(n.Config) {
		d.problem(d.lineOf(n, v.Field), d.full(v.Field), "%s", v.Message)
	}
}

// lineOf is the line of a field, or of what it is in.
func (d *decoder) lineOf(n *Node, field string) int {
	for ; field != ""; field = field[:max(0, strings.LastIndex(field, "."))] {
		if line, ok := d.lines[field]; ok {
			return line
		}
	}
	return n.Line
}

// load is schemas.Load, once for each file.
func (r *reader) load(name string, builtin fs.FS, like proto.Message, check func(proto.Message) []schemas.Violation) (proto.Message, error) {
	key := string(like.ProtoReflect().Descriptor().FullName()) + " " + name
	one, known := r.files[key]
	if !known {
		one.message, one.err = r.open(name, builtin, like.ProtoReflect().New().Interface(), check)
		r.files[key] = one
	}
	return one.message, one.err
}

func (r *reader) open(name string, builtin fs.FS, m proto.Message, check func(proto.Message) []schemas.Violation) (proto.Message, error) {
	file := filepath.Join(filepath.Dir(r.file), filepath.FromSlash(name))
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		file = "built-in " + name
		text, err = fs.ReadFile(builtin, path.Base(name))
	}
	if err != nil {
		return nil, err
	}
	sub := newReader(file, nil, nil)
	sub.shared = r.shared
	sub.message(m, text, check)
	if len(sub.problems) > 0 {
		sub.problems.sort()
		r.foreign = append(r.foreign, sub.problems...)
		return nil, fmt.Errorf("there are errors in %s", file)
	}
	return m, nil
}

// message reads a text that is one message.
func (r *reader) message(m proto.Message, text []byte, check func(proto.Message) []schemas.Violation) {
	s := newSyntax(text, r.problem)
	doc := s.document()
	r.broken = s.broken
	schemas.Defaults(m)
	n := &Node{Config: m, Line: 1}
	d := r.fill(n, "", doc)
	if len(r.problems) > 0 {
		return
	}
	for _, v := range check(m) {
		r.problem(d.lineOf(n, v.Field), v.Field, "%s", v.Message)
	}
}
