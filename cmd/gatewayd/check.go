package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
	"gatewayd/supervisor/config"
)

func checkCommand() *cobra.Command {
	var schema, asJSON bool
	cmd := &cobra.Command{
		Use:   "check gateway.toml",
		Short: "Find everything that is wrong with a config file, without running it",
		Long: `Find everything that is wrong with a config file, without running it.

Each problem is one line: file, line, key, what is wrong and what was probably
meant. The exit code is 2 when there is any.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case schema:
				text, err := jsonSchema()
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				}
				return err
			case len(args) == 0:
				return usage("name a config file, or ask for --schema")
			case asJSON:
				return checkJSON(cmd, args[0])
			}
			return check(cmd, args[0])
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the config file, for editors")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as a JSON array")
	return cmd
}

func check(cmd *cobra.Command, file string) error {
	cfg, problems := load(file)
	if err := refused(problems); err != nil {
		return err
	}
	if len(cfg.Warnings) > 0 {
		_, _ = fmt.Fprintln(cmd.OutOrStdout(), cfg.Warnings.Format())
	}
	for _, n := range notes(cfg) {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", n.Actor, n.Message)
	}
	groups, actors := count(cfg)
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is fine: %s in %s\n", file, counted(actors, "actor"), counted(groups, "group"))
	return err
}

// notes are what the kinds of a config have to say about it.
func notes(cfg *config.Tree) (told []schemas.Finding) {
	var all []schemas.Actor
	present := map[string]bool{}
	cfg.Walk(func(n *config.Node) {
		if n.Kind != "" {
			all = append(all, schemas.Actor{Path: n.Path, Kind: n.Kind, Config: n.Config})
			present[n.Kind] = true
		}
	})
	for _, k := range kinds {
		if k.Notes != nil && present[k.Name] {
			told = append(told, k.Notes(all)...)
		}
	}
	return told
}

func checkJSON(cmd *cobra.Command, file string) error {
	cfg, problems := load(file)
	told := problems
	if cfg != nil {
		told = cfg.Warnings
	}
	text, err := told.FormatJSON()
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
	}
	if err == nil && len(problems) > 0 {
		err = exit{errors.New(""), 2} // the problems have been printed
	}
	return err
}

// refused is a config with problems: each has a line of its own.
func refused(problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return usage("the config has %s\n%s", counted(len(problems), "problem"), problems.Format())
}

// counted is a number of things: 1 problem, 2 problems.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func count(cfg *config.Tree) (groups, actors int) {
	cfg.Walk(func(n *config.Node) {
		switch {
		case n.Kind != "":
			actors++
		case n.Path != "":
			groups++
		}
	})
	return groups, actors
}

// jsonSchema is the JSON Schema of the config file with all kinds there are.
func jsonSchema() ([]byte, error) {
	all := map[string]protoreflect.MessageDescriptor{}
	for _, k := range allKinds(nil, nil, nil) {
		all[k.Name] = k.ConfigType().Descriptor()
	}
	return schemas.JSONSchema(all)
}
