package schemas

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Profile loads the profile named by a config's field "profile": name.toml in dir, beside the
// config file or built in. known lists the available names. Profile returns nil if no profile is
// named, and also for an invalid name, which Check reports.
func (load Load) Profile(dir, name string, builtin fs.FS, known func() []string, like proto.Message, check func(proto.Message) []Violation) (proto.Message, []Violation) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, nil
	}
	path := dir + "/" + name + ".toml"
	m, err := load(path, builtin, like, check)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, []Violation{{Field: "profile", Message: fmt.Sprintf("there is no %s beside the config file, and no built-in profile of this name%s", path, DidYouMean(name, known()))}}
	case err != nil:
		return nil, []Violation{{Field: "profile", Message: err.Error()}}
	}
	return m, nil
}

// Under returns a config's list, followed by the elements of a profile whose names are not in it.
func Under[T interface{ GetName() string }](list, profile []T) []T {
	all := slices.Clip(list)
	for _, p := range profile {
		if !slices.ContainsFunc(list, func(own T) bool { return own.GetName() == p.GetName() }) {
			all = append(all, p)
		}
	}
	return all
}
