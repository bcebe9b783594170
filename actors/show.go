package actors

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// hearer is a bus that knows whether anybody subscribes to a subject. *bus.Conn is one.
type hearer interface{ Heard(subject string) bool }

// Heard reports whether anybody subscribes to a trace leaf of the actor. It costs about a
// microsecond.
func (c *Context) Heard(leaf string) bool { return c.l.cell.heard(leaf) }

func (c *Cell) heard(leaf string) bool {
	h, ok := c.sys.Bus.(hearer)
	return ok && h.Heard(c.subject(bus.Trace, leaf))
}

// Trace sends m to the trace subject <name>.<leaf>. Check Heard first: usually nobody subscribes.
func (c *Context) Trace(leaf string, m proto.Message) { c.send(bus.Trace, leaf, m) }

// Shown tells an actor that Show of a leaf has ended.
type Shown struct{ Leaf string }

// listened is the interval at which Show checks whether anybody still subscribes.
const listened = time.Second

// Show publishes the messages of from on a trace leaf until nobody subscribes any more, from ends
// or this life ends. Then from is closed, and Shown arrives unless this life has ended.
func (c *Context) Show(leaf string, from Source) {
	cell := c.l.cell
	if c.l.over() {
		_ = from.Close()
		return
	}
	c.Apart().Do(Forever, func(ctx context.Context) (any, error) {
		defer func() { _ = from.Close() }()
		for ctx.Err() == nil && cell.heard(leaf) && cell.show(ctx, leaf, from) {
		}
		return Shown{leaf}, nil
	})
}

// show publishes for the time listened; it returns false if from has ended.
func (c *Cell) show(ctx context.Context, leaf string, from Source) bool {
	ctx, cancel := context.WithTimeout(ctx, listened)
	defer cancel()
	for ctx.Err() == nil {
		m, err := from.Next(ctx)
		if err != nil {
			return ctx.Err() != nil
		}
		if err := c.sys.Bus.Publish(c.subject(bus.Trace, leaf), m); err != nil {
			c.log().Debug("not published", "class", bus.Trace, "leaf", leaf, "err", err)
		}
	}
	return true
}
