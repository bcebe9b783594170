package look

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/schemas"
	drillv1 "gatewayd/schemas/drill/v1"
)

// DrillCommand returns "drill", which injects a fault into an actor.
func DrillCommand(kinds []actors.Kind) *cobra.Command {
	c := client.New(kinds)
	var rate float64
	var long time.Duration
	cmd := &cobra.Command{
		Use:   "drill FAULT PATH",
		Short: "Inject a fault to test how the gateway heals",
		Long: `Inject a fault into an actor to test how the gateway heals. This is possible only
if the config says [drill] armed = true.

` + faultDoc() + `

gatewayd drill clear removes the faults.`,
		Example: `  gatewayd drill kill field/plc/mixer
  gatewayd drill hang field/rs485-1/line --for 1m
  gatewayd drill drop field/rs485-1/meter-1 --rate 0.3
  gatewayd drill clear`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return faults(), cobra.ShellCompDirectiveNoFileComp
			}
			return c.CompletePath(cmd, args[1:], prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(faults(), args[0]) {
				return exit.Usage("unknown fault %q%s; want one of %s", args[0], schemas.DidYouMean(args[0], faults()), strings.Join(faults(), ", "))
			}
			if rate <= 0 || rate > 1 {
				return exit.Usage("--rate %g: want a fraction above 0, at most 1", rate)
			}
			return askDrill(cmd.Context(), c, "Inject", &drillv1.InjectRequest{
				Fault: args[0], Path: strings.Trim(args[1], "/"), Rate: &rate, Duration: durationpb.New(long),
			}, cmd)
		},
	}
	c.Flags(cmd)
	cmd.Flags().Float64Var(&rate, "rate", 1, "fraction of messages or bytes to hit, above 0 up to 1 (drop, delay, corrupt)")
	cmd.Flags().DurationVar(&long, "for", time.Second, "duration of a hang, or time by which messages are delayed (hang, delay)")
	cmd.AddCommand(clearCommand(client.New(kinds)))
	return cmd
}

func clearCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "clear [PATH]",
		Short:             "Remove all injected faults, or those of one actor",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.CompletePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &drillv1.ClearRequest{}
			if len(args) > 0 {
				req.Path = strings.Trim(args[0], "/")
			}
			return askDrill(cmd.Context(), c, "Clear", req, cmd)
		},
	}
	c.Flags(cmd)
	return cmd
}

func askDrill(ctx context.Context, c *client.Client, method string, req proto.Message, cmd *cobra.Command) error {
	if err := c.Connect(ctx); err != nil {
		return err
	}
	defer c.Close()
	if err := c.Ask(ctx, "drill", method, req, nil); err != nil {
		return c.Explain(err)
	}
	if c.AsJSON {
		return printJSON(cmd.OutOrStdout(), req)
	}
	var err error
	switch m := req.(type) {
	case *drillv1.InjectRequest:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: injected %s; see gatewayd events --follow\n", m.Path, m.Fault)
	case *drillv1.ClearRequest:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "faults cleared")
	}
	return err
}

// faults returns the names of all faults, from the schema.
func faults() []string {
	fd := (&drillv1.InjectRequest{}).ProtoReflect().Descriptor().Fields().ByName("fault")
	return schemas.RuleOf(fd).In
}

// faultDoc returns the description of the faults in the schema.
func faultDoc() string {
	return strings.Join(terminal.Wrap(schemas.Doc("drill.v1.InjectRequest.fault"), 80), "\n")
}
