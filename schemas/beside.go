package schemas

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Actor is one actor of a config, for checks that involve all of them.
type Actor struct {
	// Path in the tree.
	Path string
	// Kind as written in the file, e.g. "modbus-unit".
	Kind string
	// Config of the kind, with its defaults. It must not be modified.
	Config proto.Message
}

// Finding is what is wrong, or probably not as intended, with the config of one actor in relation
// to others. Its Other, if any, is a field of the actor at Beside.
type Finding struct {
	Violation
	// Actor is the path of the actor with the field.
	Actor string
	// Beside is the path of the other actor involved; empty if there is none.
	Beside string
}

// Points returns the names of the points and derived points that an actor publishes. known is false
// if its config does not determine them.
func (a Actor) Points() (names []string, known bool) {
	m := a.Config.ProtoReflect()
	for _, list := range []protoreflect.Name{"points", "derived"} {
		f := m.Descriptor().Fields().ByName(list)
		if f == nil || !f.IsList() || f.Message() == nil {
			continue
		}
		name := f.Message().Fields().ByName("name")
		if name == nil || name.Kind() != protoreflect.StringKind {
			continue
		}
		for i := range m.Get(f).List().Len() {
			names = append(names, m.Get(f).List().Get(i).Message().Get(name).String())
		}
	}
	return names, len(names) > 0
}

// NoPoint returns an error message if the actor at path has no point of this name, or "" if it has
// one or that is not known.
func NoPoint(all []Actor, path, point string) string {
	i := slices.IndexFunc(all, func(a Actor) bool { return a.Path == path })
	if i < 0 {
		return ""
	}
	names, known := all[i].Points()
	if !known || slices.Contains(names, point) {
		return ""
	}
	return fmt.Sprintf("%q has no point %q%s", path, point, DidYouMean(point, names))
}
