package actors

import "gatewayd/bus"

// Caller is on whose behalf something is asked, and in which trace.
type Caller = bus.Caller

// NewTrace is a trace id for what begins here.
func NewTrace() string { return bus.NewTrace() }

// ParseParent is the trace id and the span id of a W3C traceparent; empty if it is none.
func ParseParent(parent string) (trace, span string) { return bus.ParseParent(parent) }

// Caller is who has asked. What an actor asks while it serves a request is asked
// for the one it serves.
func (r *Request) Caller() Caller {
	if r.from != nil {
		return r.from.caller()
	}
	return r.caller
}

// As is c for speaking on behalf of w: what it asks and calls is w's doing. It is
// for actors that bring foreign clients in.
func (c *Context) As(w Caller) *Context {
	as := *c
	as.as = &w
	return &as
}

// Caller is on whose behalf the actor acts.
func (c *Context) Caller() Caller {
	switch {
	case c.as != nil:
		return *c.as
	case c.req != nil:
		return c.req.Caller()
	}
	return c.l.cell.caller()
}

// sign notes in r who asks. Who asks for nobody else is not spelled out: polls do.
func (c *Context) sign(r *Request) *Request {
	if c.as == nil && c.req == nil {
		r.from = c.l.cell
	} else {
		r.caller = c.Caller()
	}
	return r
}

// caller is the actor when it acts of its own accord.
func (c *Cell) caller() Caller { return Caller{Identity: "actor/" + c.path} }
