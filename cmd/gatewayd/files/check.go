package files

import (
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/schemas"
	"gatewayd/supervisor/config"
)

// CheckCommand returns "check", which finds everything wrong with a config file.
func CheckCommand(kinds Kinds) *cobra.Command {
	var schema, asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a config file for errors, without running it",
		Long: `Check a config file for errors and warnings, without running it.

Each problem is printed on one line: file, line, key, what is wrong and, where it
can be guessed, what was meant. The exit code is 2 if there are errors; warnings
alone do not make a config invalid.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case schema:
				text, err := kinds.jsonSchema()
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				}
				return err
			case len(args) == 0:
				return exit.Usage("name a config file, or ask for --schema")
			case asJSON:
				return kinds.checkJSON(cmd, args[0])
			}
			return kinds.check(cmd, args[0])
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the config file, for use in editors")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print errors and warnings as a JSON array")
	return cmd
}

func (k Kinds) check(cmd *cobra.Command, file string) error {
	cfg, problems := k.Load(file)
	if err := Refused(problems); err != nil {
		return err
	}
	if len(cfg.Warnings) > 0 {
		_, _ = fmt.Fprintln(cmd.OutOrStdout(), cfg.Warnings.Format())
	}
	for _, n := range k.notes(cfg) {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", n.Actor, n.Message)
	}
	groups, actors := Count(cfg)
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s in %s\n", file, terminal.Counted(actors, "actor"), terminal.Counted(groups, "group"))
	return err
}

// notes returns the remarks of the kinds on a config that is valid.
func (k Kinds) notes(cfg *config.Tree) (told []schemas.Finding) {
	var all []schemas.Actor
	present := map[string]bool{}
	cfg.Walk(func(n *config.Node) {
		if n.Kind != "" {
			all = append(all, schemas.Actor{Path: n.Path, Kind: n.Kind, Config: n.Config})
			present[n.Kind] = true
		}
	})
	for _, k := range k {
		if k.Notes != nil && present[k.Name] {
			told = append(told, k.Notes(all)...)
		}
	}
	return told
}

func (k Kinds) checkJSON(cmd *cobra.Command, file string) error {
	cfg, problems := k.Load(file)
	told := problems
	if cfg != nil {
		told = cfg.Warnings
	}
	text, err := told.FormatJSON()
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
	}
	if err == nil && len(problems) > 0 {
		err = exit.Usage("") // the problems have been printed
	}
	return err
}

// jsonSchema returns the JSON Schema of the config file with all kinds.
func (k Kinds) jsonSchema() ([]byte, error) {
	all := map[string]protoreflect.MessageDescriptor{}
	for _, k := range k.andBus() {
		all[k.Name] = k.ConfigType().Descriptor()
	}
	return schemas.JSONSchema(all)
}
