package look

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// DescribeCommand returns "describe", which shows an actor's kind, health, config, methods and
// messages.
func DescribeCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe PATH [METHOD]",
		Short: "Show an actor's health, config, methods and published messages",
		Long: `Show what an actor is, its health, config, methods and published messages. With
METHOD, show the fields of the request and of the answer, and an example.`,
		Example: `  gatewayd describe field/plc/mixer
  gatewayd describe field/plc/mixer WriteRegisters`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.CompleteMethod,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			d, err := c.Describe(cmd.Context(), args[0])
			if err != nil {
				return c.Explain(err)
			}
			if len(args) == 2 {
				return describeMethod(c, cmd.OutOrStdout(), d, args[1])
			}
			if c.AsJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return printDescription(cmd.OutOrStdout(), d, configOf(cmd.Context(), c, args[0]))
		},
	}
	c.Flags(cmd)
	return cmd
}

func printJSON(w io.Writer, m proto.Message) error {
	text, err := protojson.Marshal(m)
	if err == nil {
		_, err = fmt.Fprintln(w, string(terminal.Compact(text)))
	}
	return err
}

func describeMethod(c *client.Client, w io.Writer, d *actorv1.DescribeResponse, name string) error {
	m, err := methodOf(d, name)
	switch {
	case err != nil:
		return err
	case !c.AsJSON:
		return printMethod(w, d.Entry.GetPath(), m)
	}
	request, err := messageOf(m.Request)
	if err != nil {
		return err
	}
	answer, err := messageOf(m.Response)
	if err != nil {
		return err
	}
	in, err := schemas.MessageSchema(request)
	if err != nil {
		return err
	}
	out, err := schemas.MessageSchema(answer)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"path": d.Entry.GetPath(), "method": m.Name, "doc": m.Doc, "stream": m.Stream,
		"request": json.RawMessage(in), "answer": json.RawMessage(out),
	})
}

// configOf returns the config in force as fields; nil if the actor does not tell it.
func configOf(ctx context.Context, c *client.Client, path string) []terminal.Field {
	resp := &actorv1.GetConfigResponse{}
	if err := c.Ask(ctx, path, "GetConfig", &actorv1.GetConfigRequest{}, resp); err != nil || resp.Config == nil {
		return nil
	}
	text, err := protojson.Marshal(resp.Config)
	if err != nil {
		return nil
	}
	fields, _ := terminal.FieldsOf(text)
	return fields
}

func printDescription(w io.Writer, d *actorv1.DescribeResponse, config []terminal.Field) error {
	p := terminal.Painter(w)
	e, h, n := d.Entry, d.Health, d.Counters
	health := terminal.HealthCell(h.GetState())
	fmt.Fprintf(w, "%s  %s: %s\n", p.In(terminal.Bold, e.GetPath()), e.GetKind(), e.GetDoc())
	fmt.Fprintf(w, "%s for %s in life %d", p.In(health.Colour, health.Text), terminal.Age(time.Since(h.GetSince().AsTime())), h.GetLife())
	if h.GetCause() != "" {
		fmt.Fprintf(w, ": %s", h.GetCause())
	}
	fmt.Fprintf(w, "\n%d handled, %d failures, %d shed, %d waiting, %d missed ticks, %d abandoned\n",
		n.GetHandled(), n.GetFailures(), n.GetShed(), n.GetWaiting(), n.GetMissedTicks(), n.GetAbandoned())
	if len(config) > 0 {
		rows := [][]terminal.Cell{terminal.Row("CONFIG", "")}
		for _, f := range config {
			rows = append(rows, terminal.Row(f.Name, terminal.Flat(f.Value)))
		}
		fmt.Fprintln(w)
		if err := terminal.Table(w, p, rows); err != nil {
			return err
		}
	}
	rows := [][]terminal.Cell{terminal.Row("METHOD", "REQUEST", "ANSWER", "WHAT IT DOES")}
	for _, m := range d.Methods {
		answer := m.Response
		if m.Stream {
			answer = "stream " + answer
		}
		rows = append(rows, terminal.Row(m.Name, m.Request, answer, terminal.FirstSentence(m.Doc)))
	}
	fmt.Fprintln(w)
	if err := terminal.Table(w, p, rows); err != nil || len(e.GetPublishes()) == 0 {
		return err
	}
	rows = [][]terminal.Cell{terminal.Row("PUBLISHES", "MESSAGE")}
	for _, one := range e.Publishes {
		rows = append(rows, terminal.Row(one.Class+"/"+e.Path+"/"+one.Leaf, one.Message))
	}
	fmt.Fprintln(w)
	return terminal.Table(w, p, rows)
}
