package access

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/files"
	"gatewayd/protocols/audit"
)

// AuditCommand returns "audit", which verifies an audit log.
func AuditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Verify that the audit log was not tampered with",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verifyCommand())
	return cmd
}

func verifyCommand() *cobra.Command {
	data, head := "", ""
	cmd := &cobra.Command{
		Use:   "verify [DIRECTORY]",
		Short: "Verify the log, or a copy of it, without a running gateway",
		Long: `Verify that no record of an audit log was changed, removed or inserted.

A log whose end was cut off is consistent in itself. To detect that, note the
hash that the gateway publishes in the state <path>/head and pass it as --head: a
log that does not contain it is rejected. Records that the log had no room for
are gone, and that is not an error. If the last record is incomplete because the
gateway is writing, run the command again.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Join(data, "actors", "audit")
			if len(args) > 0 {
				dir = args[0]
			}
			r, err := audit.Verify(dir, head)
			if err != nil {
				return fmt.Errorf("the audit log is not intact: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: records %d to %d are intact; the last hash is %s\n", dir, r.First, r.Last, r.Head)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", files.DataDir(), "data directory of the gateway")
	cmd.Flags().StringVar(&head, "head", "", "hash noted earlier that the log must contain")
	return cmd
}
