package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	glob "path"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// meetTime is how long to wait for one more gateway to report that it is there.
const meetTime = 300 * time.Millisecond

func listCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [ID...]",
		Short: "List the gateways of the fleet with their health and connection",
		Long: `List all gateways of the fleet, or those whose ids match patterns like 'site-*'.

All gateways are asked directly, at the same time. LINK says since when a gateway
is connected to the hub, or when it was last heard; the other columns then show
its last known status. BACKLOG is the number of records that the uplink farthest
behind still has to send. A stream of the hub remembers gateways that are not
connected: see gatewayd fleet setup.`,
		Example: `  gatewayd fleet ls --hub tls://hub.example.com:4222 --creds ops.nk
  gatewayd fleet ls 'site-*' --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Dial(); err != nil {
				return err
			}
			defer c.Close()
			all, remembered, err := members(cmd.Context(), c, args)
			if err != nil {
				return c.Explain(err)
			}
			if c.AsJSON {
				return membersJSON(cmd.OutOrStdout(), all)
			}
			if err := printMembers(cmd.OutOrStdout(), all, time.Now()); err != nil {
				return err
			}
			if !remembered {
				fmt.Fprintln(cmd.ErrOrStderr(), "gatewayd: this hub does not remember gateways that are away: gatewayd fleet setup makes it remember them")
			}
			return nil
		},
	}
	c.Flags(cmd)
	return cmd
}

// member is a gateway of the fleet.
type member struct {
	id       string
	here     bool // the gateway answers
	standing *gatewayv1.Standing
	told     time.Time // time of the standing; zero: none is known
}

// members returns all gateways whose ids match one of the patterns, or all if there are none,
// ordered by id. remembered reports whether the hub keeps the standing of those that are away.
func members(ctx context.Context, c *client.Client, patterns []string) (all []member, remembered bool, err error) {
	for _, p := range patterns {
		if _, err := glob.Match(p, ""); err != nil {
			return nil, false, exit.Usage("%q is not a pattern of ids like 'site-*'", p)
		}
	}
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	known := map[string]member{}
	err = c.Conn.Fleet(ctx, func(gateway string, r bus.Record) error {
		m := member{id: gateway, standing: &gatewayv1.Standing{}, told: r.Time}
		if len(r.Data) > 0 && r.Decode(m.standing) == nil {
			known[gateway] = m
		}
		return nil
	})
	remembered = err == nil
	if err != nil && bus.AsError(err).Code != bus.NotFound && bus.AsError(err).Code != bus.FailedPrecondition {
		return nil, false, err
	}
	met, err := c.Conn.Meet(ctx, meetTime)
	if err != nil {
		return nil, false, err
	}
	for _, id := range met {
		if _, ok := known[id]; !ok {
			known[id] = member{id: id, standing: &gatewayv1.Standing{}}
		}
	}
	ids := slices.DeleteFunc(slices.SortedFunc(maps.Keys(known), client.CompareTokens), func(id string) bool {
		return len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool { ok, _ := glob.Match(p, id); return ok })
	})
	words, err := c.Conn.Ask(ctx, ids, min(c.Timeout, client.AskTime))
	for _, w := range words {
		m := known[w.Gateway]
		if m.here = w.Answered; w.Record.Seq > 0 {
			fresh := &gatewayv1.Standing{}
			if w.Record.Decode(fresh) == nil {
				m.standing, m.told = fresh, w.Record.Time
			}
		}
		if m.here || !m.told.IsZero() { // otherwise nothing shows that there is such a gateway
			all = append(all, m)
		}
	}
	return all, remembered, err
}

func printMembers(w io.Writer, all []member, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No gateway has joined this hub: add a table [bus.leaf] to the config of a gateway.")
		return err
	}
	rows := [][]terminal.Cell{terminal.Row("GATEWAY", "VERSION", "HEALTH", "SINCE", "LINK", "BACKLOG", "CAUSE")}
	for _, m := range all {
		s := m.standing
		row := terminal.Row(m.id, s.Version, "", terminal.Since(s.Since, now), "", fmt.Sprint(s.Backlog), s.Cause)
		row[2] = terminal.HealthCell(s.Health)
		switch {
		case m.here && s.Linked != nil:
			row[4] = terminal.Cell{Text: "up " + terminal.Since(s.Linked, now), Colour: terminal.Green}
		case m.here:
			row[4] = terminal.Cell{Text: "up", Colour: terminal.Green}
		default:
			row[4] = terminal.Cell{Text: "down " + terminal.Since(timestamppb.New(m.told), now), Colour: terminal.Red}
		}
		rows = append(rows, row)
	}
	return terminal.Table(w, terminal.Painter(w), rows)
}

func membersJSON(w io.Writer, all []member) error {
	type row struct {
		Gateway string     `json:"gateway"`
		Here    bool       `json:"here"`
		Version string     `json:"version,omitempty"`
		Health  string     `json:"health,omitempty"`
		Cause   string     `json:"cause,omitempty"`
		Since   *time.Time `json:"since,omitempty"`
		Linked  *time.Time `json:"linked,omitempty"`
		Told    *time.Time `json:"told,omitempty"`
		Actors  uint32     `json:"actors"`
		Unwell  uint32     `json:"unwell"`
		Backlog uint64     `json:"backlog"`
	}
	at := func(t *timestamppb.Timestamp) *time.Time {
		if t == nil {
			return nil
		}
		when := t.AsTime()
		return &when
	}
	rows := []row{}
	for _, m := range all {
		s := m.standing
		r := row{Gateway: m.id, Here: m.here, Version: s.Version, Health: s.Health, Cause: s.Cause, Since: at(s.Since), Linked: at(s.Linked), Actors: s.Actors, Unwell: s.Unwell, Backlog: s.Backlog}
		if !m.told.IsZero() {
			r.Told = &m.told
		}
		rows = append(rows, r)
	}
	return json.NewEncoder(w).Encode(rows)
}
