package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
)

// loaded is a file named by a config.
type loaded struct {
	message proto.Message
	err     error
}

// complete adds the contents of the files that the node's config names to it, and reports whether
// all of them could be read.
func (d *decoder) complete(n *Node) bool {
	k := d.kinds[n.Kind]
	if k.Complete == nil || d.broken {
		return true
	}
	written, named := outline(n.Config), false
	bad := k.Complete(n.Config, func(name string, builtin fs.FS, like proto.Message, check func(proto.Message) []schemas.Violation) (proto.Message, error) {
		named = true
		return d.load(name, builtin, like, check)
	})
	if named {
		d.shareTimes(written.ProtoReflect())
		n.Written = written
	}
	for _, v := range bad {
		d.fail(d.line(v.Field), v.Field, "%s", v.Message)
	}
	return len(bad) == 0
}

// outline returns a shallow copy of m.
func outline(m proto.Message) proto.Message {
	c := m.ProtoReflect().New()
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		c.Set(fd, v)
		return true
	})
	return c.Interface()
}

// Loader reads the files that a config in file names, each of them once. It may be used by one
// goroutine at a time.
func Loader(file string) schemas.Load {
	r := newReader(file, nil, nil)
	return func(name string, builtin fs.FS, like proto.Message, check func(proto.Message) []schemas.Violation) (proto.Message, error) {
		m, err := r.load(name, builtin, like, check)
		if err != nil && len(r.foreign) > 0 {
			err = fmt.Errorf("%w: %s", err, r.foreign[0])
		}
		return m, err
	}
}

// checkKind reports what the kind finds wrong with a config, except for fields that are already
// known to be wrong.
func (d *decoder) checkKind(n *Node) {
	k := d.kinds[n.Kind]
	if k.Check == nil || d.broken {
		return
	}
	known := maps.Clone(d.wrong)
	for _, v := range k.Check(n.Config) {
		if !touched(known, v.Field) {
			d.tell(d.reading, v)
		}
	}
}

// tell adds a violation of a node's field to the problems.
func (r *reader) tell(one reading, v schemas.Violation) {
	if !v.Warning {
		one.wrong[v.Field] = true
	}
	r.problems = append(r.problems, Problem{
		File: r.file, Line: one.line(v.Field), Key: one.full(v.Field), Message: v.Message, Warning: v.Warning,
	})
}

// touched reports whether something related to field is wrong already: the field, something that
// contains it, a part of it, or another field of the same list element. If field is empty, any
// wrong field counts.
func touched(wrong map[string]bool, field string) bool {
	if end := strings.LastIndex(field, "]"); end >= 0 {
		field = field[:end+1]
	}
	for w := range wrong {
		if within(w, field) || within(field, w) {
			return true
		}
	}
	return false
}

// within reports whether field a is b or a part of it.
func within(a, b string) bool {
	rest, ok := strings.CutPrefix(a, b)
	return ok && (b == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// load is schemas.Load; it reads each file once.
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
		return nil, fmt.Errorf("%s has errors", file)
	}
	return m, nil
}

// message reads a text that consists of one message.
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
		r.problem(d.line(v.Field), v.Field, "%s", v.Message)
	}
}
