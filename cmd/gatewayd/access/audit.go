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
		Short: "Check whether the log of who did what was changed",
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
		Short: "Check the log, or a copy of it, without a gateway",
		Long: `Check that no record of an audit log was changed, left out or put in between. A
log whose end was cut off is right in itself: give --head a hash that you noted
earlier, as the state <path>/head tells it, and a log without it is refused. What
the log had no room for is gone and no fault. While the gateway writes, look again
if the last record is not whole.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Join(data, "actors", "audit")
			if len(args) > 0 {
				dir = args[0]
			}
			r, err := audit.Verify(dir, head)
			if err != nil {
				return fmt.Errorf("the audit log is not right: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: records %d to %d are as they were written; the last hash is %s\n", dir, r.First, r.Last, r.Head)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", files.DataDir(), "data directory of the gateway")
	cmd.Flags().StringVar(&head, "head", "", "a hash that was noted earlier")
	return cmd
}
