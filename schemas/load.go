package schemas

import (
	"io/fs"

	"google.golang.org/protobuf/proto"
)

// Load reads a file that a config names into a message like the one given, which
// stays as it is: by this path beside the config file or, if there is none, from
// those built in. The caller changes nothing in what it gets, for others who name
// the file get the same. What is wrong with the file, by the schema or by check, is
// told with its lines where it was read; the error says only that it is.
type Load func(path string, builtin fs.FS, like proto.Message, check func(proto.Message) []Violation) (proto.Message, error)
