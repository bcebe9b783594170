package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// microVersion is told to NATS micro tooling, which wants a semantic version.
const microVersion = "0.1.0"

// version is the module version, or the commit this was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return microVersion
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return microVersion + "+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return microVersion
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gatewayd %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
