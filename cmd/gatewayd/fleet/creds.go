package fleet

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

func credsCommand(kinds files.Kinds) *cobra.Command {
	var files []string
	var account, operator, sign string
	cmd := &cobra.Command{
		Use:   "creds",
		Short: "Create keys for gateways and operators, and print the hub config for them",
		Long: `Create the key with which a gateway joins its hub, in the leaf.nkey-file of its
config unless that exists already, and print the user that a NATS server of the
hub needs for it. That user may do only what the gateway's config lets the hub
hear, call and source, and only a leaf node may log in as it.

With --operator, create the key of a person or a program that hears and calls all
gateways, as far as these let the hub, and manages streams at the hub.

A hub with an operator and JWTs needs no entry in its config. If the gateway's
config has a leaf.creds-file, --sign creates that file, signed with the key of
the hub's account.`,
		Example: `  gatewayd fleet creds --config site-7.toml --config site-8.toml
  gatewayd fleet creds --operator ops.nk
  gatewayd fleet creds --config site-7.toml --sign account.nk`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if operator != "" {
				return operatorCreds(cmd.OutOrStdout(), operator, account, sign)
			}
			users := ""
			for _, file := range files {
				user, err := gatewayCreds(kinds, file, sign)
				if err != nil {
					return err
				}
				users += user
			}
			return printUsers(cmd.OutOrStdout(), account, users)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&files, "config", []string{"gateway.toml"}, "config file of a gateway (repeatable)")
	f.StringVar(&account, "account", "FLEET", "account of the gateways at the hub")
	f.StringVar(&operator, "operator", "", "key file to create for an operator, instead of keys for gateways")
	f.StringVar(&sign, "sign", "", "nkey seed file of the hub's account, to sign JWTs with")
	_ = cmd.MarkFlagFilename("config", "toml")
	return cmd
}

// gatewayCreds makes the key of the gateway of a config file. user is the entry for the hub's
// config; empty if the hub needs none.
func gatewayCreds(kinds files.Kinds, file, sign string) (user string, err error) {
	cfg, problems := kinds.Load(file)
	if err := files.Refused(problems); err != nil {
		return "", err
	}
	c := cfg.Find("bus").Config.(*gatewayv1.Bus)
	gateway := cfg.Root.Config.(*gatewayv1.Gateway).Gateway
	l := daemon.LeafOf(c)
	switch {
	case l == nil:
		return "", exit.Usage("%s: the bus has no leaf", file)
	case sign != "" && l.Credentials == "":
		return "", exit.Usage("%s: the leaf has no creds-file that a JWT could be put into", file)
	case sign == "" && l.Key == "":
		return "", exit.Usage("%s: the leaf has no nkey-file; for a creds-file give --sign", file)
	}
	g, err := l.Grant(gateway)
	if err != nil {
		return "", err
	}
	if sign != "" {
		return "", bus.Sign(sign, l.Credentials, gateway, g, true)
	}
	public, err := bus.LeafKey(l.Key)
	if err != nil {
		return "", err
	}
	return userText("gateway "+gateway, public, g, "\n        allowed_connection_types: [\"LEAFNODE\"]"), nil
}

// operatorCreds makes the key of an operator.
func operatorCreds(w io.Writer, file, account, sign string) error {
	if sign != "" {
		return bus.Sign(sign, file, "operator", bus.OperatorGrant(), false)
	}
	public, err := bus.LeafKey(file)
	if err != nil {
		return err
	}
	return printUsers(w, account, userText("operator of the fleet", public, bus.OperatorGrant(), ""))
}

func userText(who, public string, g bus.Grant, kind string) string {
	return fmt.Sprintf(`      # %s
      {
        nkey: %s%s
        permissions {
          publish   = [%s]
          subscribe = [%s]
        }
      }
`, who, public, kind, inBrackets(g.Publish), inBrackets(g.Subscribe))
}

func printUsers(w io.Writer, account, users string) error {
	if users == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, `# nats-server.conf of the hub
accounts {
  %s {
    users = [
%s    ]
  }
}
`, account, users)
	return err
}

func inBrackets(all []string) string { return `"` + strings.Join(all, `", "`) + `"` }
