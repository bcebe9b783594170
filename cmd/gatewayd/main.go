// Command gatewayd is the gateway daemon for industrial sites that nobody
// visits, and the tool to look into a running one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatewayd: "+err.Error())
		os.Exit(exitCode(err))
	}
}

// command is the tree of all commands.
func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "gatewayd",
		Short:         "The gateway daemon for industrial sites that nobody visits",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(runCommand(), checkCommand())
	return root
}

// exit is an error with an exit code of its own; 2 is a wrong config or command
// line, 1 anything else.
type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

func exitCode(err error) int {
	var e exit
	if errors.As(err, &e) {
		return e.code
	}
	return 1
}
