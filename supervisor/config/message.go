package config

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
)

// Message reads a text that is one message, such as a device profile, into m, which is empty, as a config does that names its file. check
// finds what the schema cannot tell.
func Message(file string, text []byte, m proto.Message, check func(proto.Message) []schemas.Violation) Problems {
	r := newReader(file, nil, nil)
	r.message(m, text, check)
	r.problems.sort()
	return r.problems
}
