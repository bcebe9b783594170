// Package look has the commands that inspect and operate a running gateway: its tree, messages,
// events, frames, counters, tracks and uplinks, and calls to its actors.
package look

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
)

// TreeCommand returns "tree", which shows the health of all actors.
func TreeCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree [PATH]",
		Short: "Show the actors and groups with their health",
		Example: `  gatewayd tree
  gatewayd tree field/rs485-1
  gatewayd tree --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.CompletePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			all, boot, err := c.States(cmd.Context())
			if err != nil {
				return c.Explain(err)
			}
			top := ""
			if len(args) > 0 {
				top = strings.Trim(args[0], "/")
			}
			shown := below(all, top)
			if len(shown) == 0 {
				return fmt.Errorf("no actor has the path %q%s", top, cmp.Or(client.Nearest(top, all), client.LookAround))
			}
			if c.AsJSON {
				return treeJSON(cmd.OutOrStdout(), shown)
			}
			return printTree(cmd.OutOrStdout(), c.Gateway, shown, boot, time.Now())
		},
	}
	c.Flags(cmd)
	return cmd
}

// below returns the part of the tree from top on; all of it for "" and the root.
func below(all []client.Standing, top string) []client.Standing {
	if top == "" || top == supervisor.Root {
		return all
	}
	var part []client.Standing
	for _, s := range all {
		if s.Path == top || strings.HasPrefix(s.Path, top+"/") {
			part = append(part, s)
		}
	}
	return part
}

func printTree(w io.Writer, gateway string, all []client.Standing, boot *gatewayv1.Boot, now time.Time) error {
	p := terminal.Painter(w)
	rows := [][]terminal.Cell{terminal.Row("NAME", "KIND", "HEALTH", "SINCE", "LIFE", "CAUSE")}
	for i, name := range client.Branches(client.PathsOf(all), gateway) {
		h := all[i].Health
		row := terminal.Row(name, h.Kind, "", terminal.Age(now.Sub(h.Since.AsTime())), fmt.Sprint(h.Life), standsFor(h))
		row[2] = terminal.HealthCell(h.State)
		rows = append(rows, row)
	}
	if err := terminal.Table(w, p, rows); err != nil {
		return err
	}
	if boot.GetSafeMode() {
		why := ""
		if boot.Who != "" {
			why = " (" + boot.Who + ": " + boot.Why + ")"
		}
		_, err := fmt.Fprintln(w, p.In(terminal.Red, "safe mode: the gateway kept failing"+why+", so its groups were not started; \"gatewayd call GROUP Restart\" starts one"))
		return err
	}
	return nil
}

// standsFor returns why an actor is not well, preceded by what it stands for if its name does not
// say that.
func standsFor(h *actorv1.Health) string {
	if h.About == "" || h.Cause == "" {
		return h.About + h.Cause
	}
	return h.About + ": " + h.Cause
}

func treeJSON(w io.Writer, all []client.Standing) error {
	type row struct {
		Path  string    `json:"path"`
		Kind  string    `json:"kind"`
		State string    `json:"state"`
		Cause string    `json:"cause,omitempty"`
		Since time.Time `json:"since"`
		Life  uint32    `json:"life"`
		About string    `json:"about,omitempty"`
	}
	rows := []row{}
	for _, s := range all {
		rows = append(rows, row{s.Path, s.Health.Kind, s.Health.State, s.Health.Cause, s.Health.Since.AsTime(), s.Health.Life, s.Health.About})
	}
	return json.NewEncoder(w).Encode(rows)
}
