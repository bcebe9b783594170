package schemas

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Actor is one actor of a config, for checks that see all of them.
type Actor struct {
	// Path in the tree.
	Path string
	// Kind as written in the file, e.g. "modbus-unit".
	Kind string
	// Config of the kind, with its defaults. Nobody changes it.
	Config proto.Message
}

// Finding is what is wrong, or not as meant, with the config of one actor beside
// those of others. Its Other, if any, is a field of the actor at Beside.
type Finding struct {
	Violation
	// Actor is the path of the one whose field it is.
	Actor string
	// Beside is the path of the other actor that it is about; empty if there is none.
	Beside string
}

// Points are the names of what an actor shows, where its config says that: those of
// its points and of its derived ones. known is false where it does not.
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

// NoPoint says that an actor of a config has no point of this name; empty: it has,
// or nobody can tell.
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
