// Package fleet has the commands for many gateways, which they reach through a NATS cluster, the
// hub: keys for it, a list of the gateways and their health, and a staged rollout of a config.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
)

// Command returns "fleet", with the commands for many gateways.
func Command(kinds []actors.Kind) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Monitor and configure many gateways through a NATS hub",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	hub := func() *client.Client { return client.AtHub(kinds) }
	cmd.AddCommand(credsCommand(kinds), setupCommand(hub()), trackCommand(hub()), listCommand(hub()), configCommand(hub()))
	for _, c := range []func(*client.Client) *cobra.Command{
		look.TreeCommand, look.DescribeCommand, look.WatchCommand, look.EventsCommand, look.CallCommand, look.TracksCommand, look.UplinksCommand,
	} {
		cmd.AddCommand(distant(hub(), c))
	}
	return cmd
}

func setupCommand(c *client.Client) *cobra.Command {
	replicas := 0
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make the hub remember gateways that are not connected",
		Long: `Create the stream FLEET at the hub. It keeps the last status of every gateway, so
that gatewayd fleet ls and push know those that are not connected. Run it again
to change --replicas.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Dial(); err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := c.Bounded(cmd.Context())
			defer cancel()
			if err := c.Conn.Roster(ctx, replicas); err != nil {
				return c.Explain(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the hub remembers its gateways, on %s\n", terminal.Counted(replicas, "server"))
			return err
		},
	}
	c.Flags(cmd)
	cmd.Flags().IntVar(&replicas, "replicas", 1, "number of hub servers that store the stream: 1, 3 or 5")
	return cmd
}

func trackCommand(c *client.Client) *cobra.Command {
	stream, replicas, remove := "", 0, []string(nil)
	cmd := &cobra.Command{
		Use:   "track [ID...]",
		Short: "Make a stream of the hub source the tracks of gateways",
		Long: `Make a stream of the hub source the tracks of these gateways, in addition to those
that it sources already, and show its progress. After an interruption it catches
up when the connection is back: nothing is lost and nothing is duplicated, as long
as the gateway keeps the records. The leaf.tracks of the gateway's config says
which of its tracks may be sourced.

The messages in the stream are the gateway's own: chunks of records in their
compact form on gw.<gateway>.track.<path>.records. A gateway feeds one stream;
other streams at the hub can source that one. For records as JSON, or on links
where bytes cost money, use kind uplink-nats instead: a sourced gateway causes
traffic every second.`,
		Example: `  gatewayd fleet track site-7 site-8 --replicas 3
  gatewayd fleet track
  gatewayd fleet track --remove site-8`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range append(args, remove...) {
				if err := bus.CheckGateway(id); err != nil {
					return exit.Usage("%v", err)
				}
			}
			if err := c.Dial(); err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := c.Bounded(cmd.Context())
			defer cancel()
			messages, all, err := c.Conn.Sourcing(ctx, stream, replicas, args, remove)
			if err != nil {
				return c.Explain(err)
			}
			return printSources(c, cmd.OutOrStdout(), stream, messages, all)
		},
	}
	c.Flags(cmd)
	f := cmd.Flags()
	f.StringVar(&stream, "stream", "TRACKS", "name of the stream at the hub")
	f.IntVar(&replicas, "replicas", 0, "number of hub servers that store the stream: 1, 3 or 5 (default unchanged, 1 for a new stream)")
	f.StringSliceVar(&remove, "remove", nil, "gateways to stop sourcing; records already in the stream stay")
	return cmd
}

func printSources(c *client.Client, w io.Writer, stream string, messages uint64, all []bus.Source) error {
	if c.AsJSON {
		return writeSources(w, messages, all)
	}
	rows := [][]terminal.Cell{terminal.Row("GATEWAY", "WAITING", "HEARD")}
	for _, s := range all {
		heard := terminal.Cell{Text: "never", Colour: terminal.Yellow}
		if s.Active >= 0 {
			heard = terminal.Cell{Text: terminal.Age(s.Active) + " ago"}
		}
		rows = append(rows, []terminal.Cell{{Text: s.Gateway}, {Text: fmt.Sprint(s.Lag)}, heard})
	}
	if err := terminal.Table(w, terminal.Painter(w), rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s in stream %s\n", terminal.Counted(int(messages), "message"), stream)
	return err
}

func writeSources(w io.Writer, messages uint64, all []bus.Source) error {
	type row struct {
		Gateway string  `json:"gateway"`
		Waiting uint64  `json:"waiting"`
		Heard   float64 `json:"heard,omitempty"` // seconds ago
	}
	rows := []row{}
	for _, s := range all {
		r := row{Gateway: s.Gateway, Waiting: s.Lag}
		if s.Active >= 0 {
			r.Heard = max(s.Active, time.Millisecond).Seconds()
		}
		rows = append(rows, r)
	}
	return json.NewEncoder(w).Encode(map[string]any{"messages": messages, "gateways": rows})
}

// distant makes a command for one gateway usable through the hub. The id of the gateway becomes its
// first argument.
func distant(c *client.Client, command func(*client.Client) *cobra.Command) *cobra.Command {
	cmd := command(c)
	name, rest, _ := strings.Cut(cmd.Use, " ")
	cmd.Use = strings.TrimSpace(name + " ID " + rest)
	cmd.Short += " (on a gateway of the fleet)"
	cmd.Example = strings.ReplaceAll(cmd.Example, "gatewayd "+name, "gatewayd fleet "+name+" site-7")
	args, run, complete := cmd.Args, cmd.RunE, cmd.ValidArgsFunction
	cmd.Args = func(cmd *cobra.Command, all []string) error {
		if len(all) == 0 {
			return errors.New("name the gateway: gatewayd fleet ls lists them")
		}
		return args(cmd, all[1:])
	}
	cmd.RunE = func(cmd *cobra.Command, all []string) error {
		c.Gateway = all[0]
		return run(cmd, all[1:])
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, all []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(all) == 0 || complete == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c.Gateway = all[0]
		return complete(cmd, all[1:], prefix)
	}
	return cmd
}
