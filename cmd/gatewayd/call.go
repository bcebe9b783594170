package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

func callCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "call PATH METHOD [JSON|-]",
		Short: "Ask an actor to do something",
		Long: `Call a method of an actor and print its answers, as a table on a terminal and
as JSON otherwise. The request is JSON; '-' reads it from standard input, none is
an empty one. gatewayd describe PATH lists the methods.`,
		Example: `  gatewayd call field/plc/mixer ReadRegisters '{"address":10}'
  gatewayd call field/plc/mixer WriteRegisters '{"address":10,"values":[42]}'
  gatewayd call config Reload`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: c.completeCall,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := requestOf(args[2:], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if err := c.connect(cmd.Context()); err != nil {
				return err
			}
			defer c.close()
			return c.call(cmd.Context(), cmd.OutOrStdout(), args[0], args[1], request)
		},
	}
	c.flags(cmd)
	return cmd
}

// requestOf is the request that was typed, or piped in for "-".
func requestOf(args []string, in io.Reader) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	text := []byte(args[0])
	if args[0] == "-" {
		var err error
		if text, err = io.ReadAll(in); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, usage("the request is no JSON object: %v", err)
	}
	return text, nil
}

func (c *client) call(ctx context.Context, w io.Writer, path, method string, request []byte) error {
	subject, err := c.subject(path, method)
	if err != nil {
		return err
	}
	asTable := isTerminal(w) && !c.asJSON
	ctx, cancel := context.WithCancel(ctx)
	if !c.streams(ctx, path, method) {
		ctx, cancel = c.bounded(ctx)
	}
	defer cancel()
	err = c.conn.StreamRaw(ctx, subject, bus.JSON, request, func(m bus.Msg) error {
		if asTable {
			return printAnswer(w, m.Data)
		}
		_, err := fmt.Fprintln(w, asText(m))
		return err
	})
	if err != nil {
		return c.explain(err)
	}
	return nil
}

// streams reports whether a method gives several answers: such a call may last
// for as long as they come.
func (c *client) streams(ctx context.Context, path, method string) bool {
	d, err := c.describe(ctx, path)
	if err != nil {
		return false
	}
	for _, m := range d.Methods {
		if m.Name == method {
			return m.Stream
		}
	}
	return false
}

// describe asks an actor what it is.
func (c *client) describe(ctx context.Context, path string) (*actorv1.DescribeResponse, error) {
	subject, err := c.subject(path, "Describe")
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	d := &actorv1.DescribeResponse{}
	return d, c.conn.Call(ctx, subject, &actorv1.DescribeRequest{}, d)
}

// printAnswer prints a JSON object for people: a line per field, lists of
// objects as tables.
func printAnswer(w io.Writer, text []byte) error {
	fields, err := fieldsOf(text)
	if err != nil || len(fields) == 0 {
		_, err = fmt.Fprintln(w, "done")
		return err
	}
	p := painter(w)
	var rows [][]cell
	flush := func() error {
		if rows == nil {
			return nil
		}
		err := table(w, p, append([][]cell{plain("FIELD", "VALUE")}, rows...))
		rows = nil
		return err
	}
	for _, f := range fields {
		list := objectsOf(f.value)
		if list == nil {
			rows = append(rows, plain(f.name, flat(f.value)))
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if err := printList(w, p, f.name, list); err != nil {
			return err
		}
	}
	return flush()
}

// printList prints a list of objects, a column per field.
func printList(w io.Writer, p paint, name string, list [][]field) error {
	var heads []string
	column := map[string]int{}
	for _, object := range list {
		for _, f := range object {
			if _, known := column[f.name]; !known {
				column[f.name] = len(heads)
				heads = append(heads, strings.ToUpper(f.name))
			}
		}
	}
	rows := [][]cell{plain(heads...)}
	for _, object := range list {
		row := make([]cell, len(heads))
		for _, f := range object {
			row[column[f.name]].text = flat(f.value)
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(w, p.in(bold, name+":"))
	return table(w, p, rows)
}

// field is one member of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf takes a JSON object apart, in its own order.
func fieldsOf(text []byte) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no object: %w", err)
	}
	var all []field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: strings.Map(printable, fmt.Sprint(name))}
		if err := dec.Decode(&f.value); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// objectsOf is a list of objects, or nil.
func objectsOf(value json.RawMessage) [][]field {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil || len(list) == 0 {
		return nil
	}
	var all [][]field
	for _, one := range list {
		fields, err := fieldsOf(one)
		if err != nil {
			return nil
		}
		all = append(all, fields)
	}
	return all
}

// flat is a value in one line: a text without its quotes, a list with commas,
// the rest as it is.
func flat(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return strings.Map(printable, text)
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil {
		parts := make([]string, len(list))
		for i, one := range list {
			parts[i] = flat(one)
		}
		return strings.Join(parts, ", ")
	}
	return strings.Map(printable, string(compact(value)))
}
