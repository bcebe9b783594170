package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	actorv1 "gatewayd/schemas/actor/v1"
)

func describeCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:               "describe PATH",
		Short:             "Show what an actor is, does, answers and publishes",
		Example:           `  gatewayd describe field/plc/mixer`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.connect(cmd.Context()); err != nil {
				return err
			}
			defer c.close()
			d, err := c.describe(cmd.Context(), args[0])
			if err != nil {
				return c.explain(err)
			}
			out := cmd.OutOrStdout()
			if c.asJSON {
				text, err := protojson.Marshal(d)
				if err == nil {
					_, err = fmt.Fprintln(out, string(compact(text)))
				}
				return err
			}
			return printDescription(out, d, c.configOf(cmd.Context(), args[0]))
		},
	}
	c.flags(cmd)
	return cmd
}

// configOf is the config in force, as fields; nil when it is not told.
func (c *client) configOf(ctx context.Context, path string) []field {
	subject, err := c.subject(path, "GetConfig")
	if err != nil {
		return nil
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	resp := &actorv1.GetConfigResponse{}
	if err := c.conn.Call(ctx, subject, &actorv1.GetConfigRequest{}, resp); err != nil || resp.Config == nil {
		return nil
	}
	text, err := protojson.Marshal(resp.Config)
	if err != nil {
		return nil
	}
	fields, _ := fieldsOf(text)
	return fields
}

func printDescription(w io.Writer, d *actorv1.DescribeResponse, config []field) error {
	p := painter(w)
	e, h, n := d.Entry, d.Health, d.Counters
	health := healthCell(h.GetState())
	fmt.Fprintf(w, "%s  %s: %s\n", p.in(bold, e.GetPath()), e.GetKind(), e.GetDoc())
	fmt.Fprintf(w, "%s for %s in life %d", p.in(health.colour, health.text), age(time.Since(h.GetSince().AsTime())), h.GetLife())
	if h.GetCause() != "" {
		fmt.Fprintf(w, ": %s", h.GetCause())
	}
	fmt.Fprintf(w, "\n%d handled, %d failures, %d shed, %d waiting, %d missed ticks, %d abandoned\n",
		n.GetHandled(), n.GetFailures(), n.GetShed(), n.GetWaiting(), n.GetMissedTicks(), n.GetAbandoned())
	if len(config) > 0 {
		rows := [][]cell{plain("CONFIG", "")}
		for _, f := range config {
			rows = append(rows, plain(f.name, flat(f.value)))
		}
		fmt.Fprintln(w)
		if err := table(w, p, rows); err != nil {
			return err
		}
	}
	rows := [][]cell{plain("METHOD", "REQUEST", "ANSWER", "WHAT IT DOES")}
	for _, m := range d.Methods {
		answer := m.Response
		if m.Stream {
			answer = "stream " + answer
		}
		rows = append(rows, plain(m.Name, m.Request, answer, firstSentence(m.Doc)))
	}
	fmt.Fprintln(w)
	if err := table(w, p, rows); err != nil || len(e.GetPublishes()) == 0 {
		return err
	}
	rows = [][]cell{plain("PUBLISHES", "MESSAGE")}
	for _, one := range e.Publishes {
		rows = append(rows, plain(one.Class+"/"+e.Path+"/"+one.Leaf, one.Message))
	}
	fmt.Fprintln(w)
	return table(w, p, rows)
}
