package actors

import "gatewayd/bus"

// Close makes the cell refuse all messages from now on, with why in the error, until Open.
func (c *Cell) Close(why string) { c.closed.Store(&why) }

// Open ends Close.
func (c *Cell) Open() { c.closed.Store(nil) }

func (c *Cell) limit() int32 {
	if c.kind.Limit > 0 {
		return int32(c.kind.Limit)
	}
	return 256
}

// admit puts a message from outside into the mailbox, or returns why it is refused. A message that
// is refused because too many are waiting counts as shed.
func (c *Cell) admit(m mail) error {
	err := c.offer(m)
	if e, ok := err.(*bus.Error); ok && e.Code == bus.ResourceExhausted {
		c.shed.Add(1)
	}
	return err
}

// offer is like admit, for a sender that retries: a refused message does not count as shed.
func (c *Cell) offer(m mail) error { return c.letIn(m, c.limit()) }

// letIn puts a message into the mailbox if fewer than most are waiting there.
func (c *Cell) letIn(m mail, most int32) error {
	if why := c.closed.Load(); why != nil {
		return bus.Errorf(bus.Unavailable, "%s: %s", c.path, *why)
	}
	pid := c.pid.Load()
	if pid == nil {
		return bus.Errorf(bus.Unavailable, "%s has not started", c.path)
	}
	if n := c.waiting.Add(1); n > most {
		c.waiting.Add(-1)
		return bus.Errorf(bus.ResourceExhausted, "%s is overloaded: %d messages are waiting", c.path, n-1)
	}
	if r, ok := m.(*Request); ok && !c.queue.enter(r) {
		c.waiting.Add(-1)
		return bus.Errorf(bus.Unavailable, "%s is stopping", c.path)
	}
	if d := c.drill.Load(); d != nil && d.intercept(c, pid, m) {
		return nil
	}
	c.sys.runtime.Root.Send(pid, m)
	return nil
}

// post sends a message that is never refused. It is for probes, and for messages of which a life
// has a limited number for other reasons.
func (c *Cell) post(m mail) {
	if pid := c.pid.Load(); pid != nil {
		c.waiting.Add(1)
		c.sys.runtime.Root.Send(pid, m)
	}
}

// Took notes that msg has been taken out of the mailbox. It is for a group, which serves its own
// mailbox. mine is false if msg is no message of this package; r is the request if it is one.
func (c *Cell) Took(msg any) (r *Request, mine bool) {
	if _, mine = msg.(mail); !mine {
		return nil, false
	}
	c.waiting.Add(-1)
	c.served.Add(1)
	if r, _ = msg.(*Request); r != nil {
		c.queue.leave(r)
	}
	return r, true
}

// Probe sends a message that does nothing. Served grows when its turn comes.
func (c *Cell) Probe() { c.post(probe{}) }
