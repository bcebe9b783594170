// Package access has the commands for identities and permissions: claiming a gateway for its first
// operator, certificates, passwords and revocation; and the check of the audit log.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/access"
)

// keeperPath is the usual path of the actor of kind access-control.
const keeperPath = "access"

// Command returns "access": calls to the access-control of a running gateway, and commands that
// make the hashes, tokens and keys its config holds.
func Command(kinds []actors.Kind) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Show and revoke access rights, and create passwords, tokens and keys",
		Long: `Show who may use what on a running gateway, revoke identities, and create the
credentials that a config of kind access-control holds: hashes of passwords and
tokens, and public keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	reason := ""
	revoke := ask(client.New(kinds), "revoke IDENTITY", "Revoke an identity: end its sessions and refuse new ones", "Revoke", 1,
		func(args []string) any { return map[string]string{"identity": args[0], "reason": reason} })
	revoke.Flags().StringVar(&reason, "reason", "", "reason to record in the event")
	cmd.AddCommand(
		ask(client.New(kinds), "list", "List the identities and whether they are in force", "List", 0, func([]string) any { return struct{}{} }),
		ask(client.New(kinds), "may IDENTITY TOPIC", "Check whether an identity may use a topic, such as cmd/field/plc/WriteRegisters", "May", 2,
			func(args []string) any { return map[string]string{"identity": args[0], "topic": args[1]} }),
		revoke,
		ask(client.New(kinds), "restore IDENTITY", "Restore a revoked identity", "Restore", 1, func(args []string) any { return map[string]string{"identity": args[0]} }),
		hashCommand(), tokenCommand(), keyCommand(),
	)
	return cmd
}

// ask returns a command that calls a method of the access-control actor.
func ask(c *client.Client, use, short, method string, n int, request func(args []string) any) *cobra.Command {
	path := keeperPath
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(n),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := json.Marshal(request(args))
			if err != nil {
				return err
			}
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			if err = c.Call(cmd.Context(), cmd.OutOrStdout(), path, method, body); err != nil && lacks(cmd.Context(), c, path) {
				return fmt.Errorf("the gateway has no access-control called %q: gatewayd claim creates one, --keeper selects another", path)
			}
			return err
		},
	}
	c.Flags(cmd)
	cmd.Flags().StringVar(&path, "keeper", keeperPath, "path of the access-control actor")
	return cmd
}

// lacks reports whether the gateway has no actor of that name.
func lacks(ctx context.Context, c *client.Client, path string) bool {
	_, err := c.Describe(ctx, path)
	var e *bus.Error
	return errors.As(err, &e) && e.Code == bus.NotFound
}

func hashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Hash a password for the config",
		Long: `Read a password without echoing it and print its Argon2id hash, the value for the
key "password" of an identity. The password itself is not written anywhere.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := terminal.ReadPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), true)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), access.Hash([]byte(password)))
			return err
		},
	}
}

func tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Create a bearer token and its hash for the config",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token := access.NewToken()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "token for the client:       %s\nin the gateway's config:    tokens = [%q]\n", token, access.Digest(token))
			return err
		},
	}
}

func keyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Create a NATS user key in a file, and print its public key for the config",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public, err := bus.NewKey(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "private key for the client: %s\nin the gateway's config:    keys = [%q]\n", args[0], public)
			return err
		},
	}
}
