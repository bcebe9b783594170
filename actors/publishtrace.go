package actors

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// subscriberChecker is a bus that knows whether anybody subscribes to a subject. *bus.Conn is one.
type subscriberChecker interface{ HasSubscribers(subject string) bool }

// HasSubscribers reports whether anybody subscribes to a trace leaf of the actor. It costs about a
// microsecond.
func (c *Context) HasSubscribers(leaf string) bool { return c.l.cell.hasSubscribers(leaf) }

func (c *Cell) hasSubscribers(leaf string) bool {
	h, ok := c.sys.Bus.(subscriberChecker)
	return ok && h.HasSubscribers(c.subject(bus.Trace, leaf))
}

// Trace sends m to the trace subject <name>.<leaf>. Check HasSubscribers first: usually nobody
// subscribes.
func (c *Context) Trace(leaf string, m proto.Message) { c.send(bus.Trace, leaf, m) }

// TraceEnded tells an actor that PublishTrace of a leaf has ended.
type TraceEnded struct{ Leaf string }

// traceCheck is the interval at which PublishTrace checks whether anybody still subscribes.
const traceCheck = time.Second

// PublishTrace publishes the messages of from on a trace leaf until nobody subscribes any more,
// from ends or this life ends. Then from is closed, and TraceEnded arrives unless this life has
// ended.
func (c *Context) PublishTrace(leaf string, from Source) {
	cell := c.l.cell
	if c.l.over() {
		_ = from.Close()
		return
	}
	c.Apart().Do(Forever, func(ctx context.Context) (any, error) {
		defer func() { _ = from.Close() }()
		for ctx.Err() == nil && cell.hasSubscribers(leaf) && cell.publishTrace(ctx, leaf, from) {
		}
		return TraceEnded{leaf}, nil
	})
}

// publishTrace publishes for the duration traceCheck; it returns false if from has ended.
func (c *Cell) publishTrace(ctx context.Context, leaf string, from Source) bool {
	ctx, cancel := context.WithTimeout(ctx, traceCheck)
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
