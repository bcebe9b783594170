package look

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
)

// CallCommand returns "call", which calls a method of an actor.
func CallCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call PATH METHOD [JSON|-]",
		Short: "Call a method of an actor",
		Long: `Call a method of an actor and print its answers, as a table on a terminal and as
JSON otherwise. The request is JSON; '-' reads it from standard input, and without
one an empty request is sent. UpdateConfig takes TOML as well. The methods are
listed by gatewayd describe PATH, the fields of a request by gatewayd describe
PATH METHOD.`,
		Example: `  gatewayd call field/plc/mixer ReadRegisters '{"address":10}'
  gatewayd call field/plc/mixer WriteRegisters '{"address":10,"values":[42]}'
  gatewayd call field/plc/mixer UpdateConfig 'every = "5s"'
  gatewayd call config Reload`,
		Args:              cobra.RangeArgs(1, 3),
		ValidArgsFunction: c.CompleteMethod,
		RunE: func(cmd *cobra.Command, args []string) error {
			var request []byte
			var err error
			if len(args) > 1 {
				if request, err = requestOf(args[1], args[2:], cmd.InOrStdin()); err != nil {
					return err
				}
			}
			err = c.Connect(cmd.Context())
			switch {
			case err != nil && len(args) == 1:
				return exit.Usage("name a method: gatewayd call %s METHOD [JSON]", args[0])
			case err != nil:
				return err
			}
			defer c.Close()
			if len(args) == 1 {
				return whichMethod(cmd.Context(), c, args[0])
			}
			return c.Call(cmd.Context(), cmd.OutOrStdout(), args[0], args[1], request)
		},
	}
	c.Flags(cmd)
	return cmd
}

// whichMethod returns the error for a call without a method: it lists the methods there are.
func whichMethod(ctx context.Context, c *client.Client, path string) error {
	d, err := c.Describe(ctx, path)
	if err != nil {
		return c.Explain(err)
	}
	var names []string
	for _, m := range d.Methods {
		names = append(names, m.Name)
	}
	return exit.Usage("name a method: gatewayd call %s METHOD [JSON]; its methods are %s", path, strings.Join(names, ", "))
}

// requestOf returns the request from the command line, or from in for "-". For UpdateConfig it may
// be TOML, as in the config file.
func requestOf(method string, args []string, in io.Reader) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	text := []byte(args[0])
	if args[0] == "-" {
		var err error
		if text, err = io.ReadAll(in); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil, nil
	}
	if method == "UpdateConfig" && text[0] != '{' {
		return json.Marshal(map[string]string{"toml": string(text)})
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, exit.Usage("the request is not a JSON object: %v", err)
	}
	return text, nil
}
