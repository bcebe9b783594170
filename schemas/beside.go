package schemas

import "google.golang.org/protobuf/proto"

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
