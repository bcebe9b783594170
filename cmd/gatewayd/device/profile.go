package device

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/modbus/profiles"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor/config"
)

// Profile reads a device profile. A name with a slash or the ending .toml is a file, any other a
// built-in profile.
func Profile(name string) (*modbusv1.Profile, error) {
	file, read := name, os.ReadFile
	if !strings.Contains(name, "/") && !strings.HasSuffix(name, ".toml") {
		file, read = name+".toml", profiles.Files.ReadFile
	}
	text, err := read(file)
	switch {
	case err != nil && file != name:
		return nil, exit.Usage("no built-in profile %q%s; the name of a file needs a / or .toml; built in are %s",
			name, schemas.DidYouMean(name, profiles.Names()), strings.Join(profiles.Names(), ", "))
	case err != nil:
		return nil, exit.Usage("profile %v", err)
	}
	p := &modbusv1.Profile{}
	problems := config.Message(file, text, p, func(m proto.Message) []schemas.Violation {
		return modbusunit.CheckProfile(m.(*modbusv1.Profile))
	})
	if errors, warnings := problems.Split(); len(errors) > 0 {
		return nil, exit.Usage("the profile has %s\n%s", terminal.Problems(len(errors), len(warnings)), problems.Format())
	}
	return p, nil
}

// CompleteProfile completes the names of built-in profiles, and files.
func CompleteProfile(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(profiles.Names(), func(n string) bool { return !strings.HasPrefix(n, prefix) })
	return names, cobra.ShellCompDirectiveDefault
}
