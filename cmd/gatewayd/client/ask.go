package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Ask calls a method that gives one answer.
func (c *Client) Ask(ctx context.Context, path, method string, request, answer proto.Message) error {
	subject, err := c.Subject(path, method)
	if err != nil {
		return err
	}
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	return c.Conn.Call(ctx, subject, request, answer)
}

// Subject returns the subject on which a method of an actor is called.
func (c *Client) Subject(path, method string) (string, error) {
	path = strings.Trim(path, "/")
	if err := bus.CheckName(path); err != nil {
		return "", exit.Usage("%v", err)
	}
	if err := bus.CheckLeaf(method); err != nil {
		return "", exit.Usage("%v", err)
	}
	return bus.Subject(c.Gateway, bus.Cmd, path, method), nil
}

// ConfigAmong reads the config of an actor into that message of into which has its type, and
// returns this message; nil if none has.
func (c *Client) ConfigAmong(ctx context.Context, path string, into ...proto.Message) (proto.Message, error) {
	r := &actorv1.GetConfigResponse{}
	if err := c.Ask(ctx, path, "GetConfig", &actorv1.GetConfigRequest{}, r); err != nil {
		return nil, err
	}
	for _, m := range into {
		if r.Message == string(m.ProtoReflect().Descriptor().FullName()) {
			return m, schemas.Merge(m, r.Config)
		}
	}
	return nil, nil
}

// ConfigInto reads the config of an actor into into; is reports whether it is of that type.
func (c *Client) ConfigInto(ctx context.Context, path string, into proto.Message) (is bool, err error) {
	m, err := c.ConfigAmong(ctx, path, into)
	return m != nil, err
}

// Call calls a method and prints its answers, as tables on a terminal and as JSON otherwise.
func (c *Client) Call(ctx context.Context, w io.Writer, path, method string, request []byte) error {
	subject, err := c.Subject(path, method)
	if err != nil {
		return err
	}
	asTable := terminal.Is(w) && !c.AsJSON
	ctx, cancel := context.WithCancel(ctx)
	if !c.streams(ctx, path, method) {
		ctx, cancel = c.Bounded(ctx)
	}
	defer cancel()
	problems := 0
	err = c.Conn.StreamRaw(ctx, subject, bus.JSON, request, func(m bus.Msg) error {
		problems += problemsOf(m)
		if asTable {
			return terminal.PrintAnswer(w, m.Data)
		}
		_, err := fmt.Fprintln(w, terminal.Text(m))
		return err
	})
	switch {
	case err != nil:
		return c.Explain(err)
	case problems > 0:
		return exit.Usage("refused: the config has %s", terminal.Counted(problems, "problem"))
	}
	return nil
}

// problemsOf counts the config problems in an answer. With any, the command fails, so that a script
// does not take the answer for a success.
func problemsOf(m bus.Msg) int {
	var answer struct{ Problems []json.RawMessage }
	if json.Unmarshal(m.Data, &answer) != nil {
		return 0
	}
	return len(answer.Problems)
}

// streams reports whether a method gives several answers. The time limit does not apply to such a
// call.
func (c *Client) streams(ctx context.Context, path, method string) bool {
	d, err := c.Describe(ctx, path)
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

// Describe returns the description of an actor.
func (c *Client) Describe(ctx context.Context, path string) (*actorv1.DescribeResponse, error) {
	d := &actorv1.DescribeResponse{}
	return d, c.Ask(ctx, path, "Describe", &actorv1.DescribeRequest{}, d)
}
