package schemas

import (
	"io/fs"

	"google.golang.org/protobuf/proto"
)

// Load reads a file that a config names and returns it as a message of the type of like. It looks
// for path beside the config file and then among the built-in files. The result must not be
// modified, because other configs that name the file share it. Errors in the file, found by the
// schema or by check, are reported with their lines by the reader; the returned error only says
// that there are some.
type Load func(path string, builtin fs.FS, like proto.Message, check func(proto.Message) []Violation) (proto.Message, error)
