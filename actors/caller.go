package actors

import "gatewayd/bus"

// Caller is on whose behalf a call is made, and its trace.
type Caller = bus.Caller

// NewTrace returns a trace id for a new trace.
func NewTrace() string { return bus.NewTrace() }

// ParseParent returns the trace id and the span id of a W3C traceparent; both are empty if it is
// not valid.
func ParseParent(parent string) (trace, span string) { return bus.ParseParent(parent) }

// Caller returns on whose behalf the request is made. While an actor serves a request, it asks
// others on behalf of the same caller.
func (r *Request) Caller() Caller {
	if r.from != nil {
		return r.from.caller()
	}
	return r.caller
}

// As returns a copy of c that asks and calls on behalf of w. It is for actors that serve foreign
// clients.
func (c *Context) As(w Caller) *Context {
	as := *c
	as.as = &w
	return &as
}

// Apart returns a copy of c that is not part of the request being served: what it starts goes on
// after the request has been answered or its caller has given up.
func (c *Context) Apart() *Context { return &Context{l: c.l} }

// Caller returns on whose behalf the actor is acting.
func (c *Context) Caller() Caller {
	switch {
	case c.as != nil:
		return *c.as
	case c.req != nil:
		return c.req.Caller()
	}
	return c.l.cell.caller()
}

// sign notes in r who asks. If the actor acts on its own behalf, the Caller is made only when
// needed, which keeps polls cheap.
func (c *Context) sign(r *Request) *Request {
	if c.as == nil && c.req == nil {
		r.from = c.l.cell
	} else {
		r.caller = c.Caller()
	}
	return r
}

// caller returns the Caller of the actor when it acts on its own behalf.
func (c *Cell) caller() Caller { return Caller{Identity: "actor/" + c.path} }
