package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

func fleetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Gateways that join a NATS cluster",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(fleetCredsCommand())
	return cmd
}

func fleetCredsCommand() *cobra.Command {
	var file, account string
	cmd := &cobra.Command{
		Use:   "creds",
		Short: "Make a gateway's key, and what its hub's config must say of it",
		Long: `Make the key that a gateway joins its hub with, where the leaf.key-file of its
config says, unless it is there already; and print the user that a NATS server of
the hub needs for it. That user may do what the gateway's config lets the hub
hear and call, and nothing else.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, problems := load(file)
			if err := refused(problems); err != nil {
				return err
			}
			busConfig := cfg.Find("bus").Config.(*gatewayv1.Bus)
			if busConfig.GetLeaf().GetKeyFile() == "" {
				return usage("%s: the bus has no leaf with a key-file", file)
			}
			gateway := cfg.Root.Config.(*gatewayv1.Gateway).Gateway
			return fleetCreds(cmd.OutOrStdout(), gateway, account, busConfig)
		},
	}
	cmd.Flags().StringVar(&file, "config", "gateway.toml", "config file of the gateway")
	cmd.Flags().StringVar(&account, "account", "FLEET", "account of the gateways at the hub")
	_ = cmd.MarkFlagFilename("config", "toml")
	return cmd
}

func fleetCreds(w io.Writer, gateway, account string, c *gatewayv1.Bus) error {
	l := &bus.Leaf{Calls: c.Leaf.Calls}
	for _, class := range c.Leaf.Hears {
		l.Hears = append(l.Hears, bus.Class(class))
	}
	public, err := bus.LeafKey(c.Leaf.KeyFile)
	if err != nil {
		return err
	}
	g, err := l.Grant(gateway)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `# nats-server.conf of the hub
accounts {
  %s {
    users = [
      # gateway %s
      {
        nkey: %s
        permissions {
          publish   = [%s]
          subscribe = [%s]
        }
      }
    ]
  }
}
`, account, gateway, public, inBrackets(g.Publish), inBrackets(g.Subscribe))
	return err
}

func inBrackets(all []string) string { return `"` + strings.Join(all, `", "`) + `"` }
