package config

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
)

// Message reads a text that is one message, such as a device profile, into the empty message m, in
// the same way as a file that a config names. check finds what the schema cannot express.
func Message(file string, text []byte, m proto.Message, check func(proto.Message) []schemas.Violation) Problems {
	r := newReader(file, nil, nil)
	r.message(m, text, check)
	r.problems.sort()
	return r.problems
}
