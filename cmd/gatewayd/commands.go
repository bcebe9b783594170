package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/access"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/demo"
	"gatewayd/cmd/gatewayd/device"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/fleet"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/standin"
)

// parsed parses the command line and runs the command, except for the long-running part, which it
// returns.
func parsed(ctx context.Context) (serve daemon.Serving, err error) {
	cmd, err := command(&serve).ExecuteContextC(ctx)
	if err != nil && !exit.Coded(err) {
		err = exit.Usage("%s (see %s --help)", mistyped(cmd, err.Error()), cmd.CommandPath())
	}
	return serve, err
}

// command returns the tree of all commands.
func command(serve *daemon.Serving) *cobra.Command {
	root := &cobra.Command{
		Use:           "gatewayd",
		Short:         "Gateway daemon for unattended industrial sites",
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableSuggestions: true, // cobra's suggestions take several lines: see mistyped
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run a gateway:"}, &cobra.Group{ID: "look", Title: "Inspect and operate a running gateway:"},
		&cobra.Group{ID: "tools", Title: "Tools for commissioning and testing:"})
	reach := func() *client.Client { return client.New(kinds) }
	for _, c := range []*cobra.Command{daemon.RunCommand(kinds, serve), files.CheckCommand(kinds), access.ClaimCommand(kinds), access.CertCommand(), demo.Command(kinds)} {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		look.TreeCommand(reach()), look.DescribeCommand(reach()), look.WatchCommand(reach()), look.EventsCommand(reach()),
		look.CallCommand(reach()), look.TraceCommand(reach()), look.CountersCommand(reach()), look.BudgetCommand(reach()),
		look.TracksCommand(reach()), look.UplinksCommand(reach()), look.DrillCommand(kinds), access.Command(kinds), access.AuditCommand(), fleet.Command(kinds),
	} {
		c.GroupID = "look"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		device.ReadCommand(reach()), device.WriteCommand(reach()), device.ScanCommand(reach()), standin.SimCommand(), standin.ReplayCommand(kinds), standin.SinkCommand(),
	} {
		c.GroupID = "tools"
		root.AddCommand(c)
	}
	root.AddCommand(versionCommand())
	root.InitDefaultCompletionCmd("completion")
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // otherwise an unknown shell would be no error
	}
	mark(root)
	return root
}

// mark makes the errors of all commands distinguishable from those of cobra.
func mark(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error { return exit.Marked(run(cmd, args)) }
	}
	for _, sub := range c.Commands() {
		mark(sub)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gatewayd %s (%s, %s/%s)\n", actors.Build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
