package mdi

import (
	"errors"
	"fmt"
	"time"

	"gatewayd/protocols/uplink"
)

// ClientConfig configures the gateway's side of a session.
type ClientConfig struct {
	Gateway   string
	Session   SessionID     // random
	Keepalive time.Duration // whole seconds, 1..3600
	Patience  time.Duration // how long to wait for an answer to Open, and for an acknowledgement
}

// Client is the gateway's side of a session across its connections. It does no I/O: each method
// returns the effects to be carried out, in order. It is not safe for concurrent use.
type Client struct {
	cfg   ClientConfig
	state clientState

	window      int
	heard, said time.Time
	begun       time.Time

	flights []*flight
	// Sent and not acknowledged when a connection ended, with the record's time.
	unsettled map[recordID]time.Time
	settled   map[recordID]time.Time // those of them that have arrived
	announced announced
	progress  bool // something has been acknowledged on this connection
	numbers   trackNumbers
	fields    fieldNumbers
	commands  commands
}

type clientState int

const (
	offline clientState = iota
	opening
	opened
)

// Effects of the state machines.
type (
	// Effect is one of the following types.
	Effect any
	// Send is a message for the other side.
	Send []byte
	// Ready says that records may be submitted.
	Ready struct{}
	// Settled says that a batch need not be sent again; Refused are its records that must never be
	// sent again.
	Settled struct {
		Key     int
		Refused []uplink.Refusal
	}
	// Run is a command to be carried out, once.
	Run struct{ *Command }
	// Over says that the connection is to be closed, after what was sent before.
	Over struct{ Err error }
)

const (
	// maxUnsettled is how many records are remembered as sent and not acknowledged. If there are
	// more, the receiver recognises duplicates by itself.
	maxUnsettled = 1 << 14
	// silences is the number of keepalive intervals after which a silent connection is given up.
	silences = 2
)

// NewClient returns a new session.
func NewClient(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, unsettled: map[recordID]time.Time{}, settled: map[recordID]time.Time{}}
}

// Begin starts on a new connection.
func (c *Client) Begin(now time.Time) []Effect {
	c.Lost()
	c.state, c.begun, c.heard = opening, now, now
	open := &Open{Version: Version, Gateway: c.cfg.Gateway, Session: c.cfg.Session, Keepalive: uint16(c.cfg.Keepalive / time.Second)}
	all := rangesOf(c.unsettled)
	open.Unsettled = all[:min(len(all), maxRanges)]
	return c.send(nil, now, open)
}

// Lost handles the end of a connection: nothing that was under way is confirmed.
func (c *Client) Lost() {
	for _, f := range c.flights {
		for id, w := range f.waiting {
			c.unsettled[id] = w.time
		}
	}
	for id, at := range c.settled {
		c.unsettled[id] = at // not submitted again yet
	}
	clear(c.settled)
	if len(c.unsettled) > maxUnsettled {
		clear(c.unsettled)
	}
	if c.announced.lost(); len(c.flights) > 0 && !c.progress {
		c.announced = announced{} // tell all names again next time, since the receiver may lack some of them
	}
	c.flights, c.progress = nil, false
	c.state = offline
}

// Window returns how many batches may be submitted before the first is settled; 0: there is no
// connection.
func (c *Client) Window() int {
	if c.state != opened {
		return 0
	}
	return c.window
}

// send encodes messages. A message that cannot be encoded is our error and ends the connection.
func (c *Client) send(all []Effect, now time.Time, messages ...Message) []Effect {
	for _, m := range messages {
		b, err := Encode(m)
		if err != nil {
			return c.over(all, err)
		}
		c.said = now
		all = append(all, Send(b))
	}
	return all
}

func (c *Client) over(all []Effect, err error) []Effect {
	c.Lost()
	return append(all, Over{err})
}

// Close closes the connection with a Close message.
func (c *Client) Close(now time.Time) []Effect {
	if c.state == offline {
		return nil
	}
	return c.over(c.send(nil, now, &Close{Reason: Done}), errors.New("closed"))
}

// Tick does what is due. It must be called at Next.
func (c *Client) Tick(now time.Time) []Effect {
	silent := now.Sub(c.heard)
	switch {
	case c.state == offline:
		return nil
	case c.state == opening && now.Sub(c.begun) >= c.cfg.Patience:
		return c.over(nil, fmt.Errorf("no answer to Open within %s", c.cfg.Patience))
	case silent >= silences*c.cfg.Keepalive:
		return c.over(nil, fmt.Errorf("nothing received for %s", silent.Round(time.Second)))
	case len(c.flights) > 0 && now.Sub(c.flights[0].since) >= c.cfg.Patience:
		return c.over(nil, fmt.Errorf("no acknowledgement within %s", c.cfg.Patience))
	case c.state == opened && now.Sub(c.said) >= c.cfg.Keepalive:
		return c.send(nil, now, &Keepalive{})
	}
	return nil
}

// Next returns when Tick has something to do; zero: never.
func (c *Client) Next() time.Time {
	if c.state == offline {
		return time.Time{}
	}
	next := c.heard.Add(silences * c.cfg.Keepalive)
	if c.state == opening {
		return earlier(next, c.begun.Add(c.cfg.Patience))
	}
	if len(c.flights) > 0 {
		next = earlier(next, c.flights[0].since.Add(c.cfg.Patience))
	}
	return earlier(next, c.said.Add(c.cfg.Keepalive))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Receive handles a message.
func (c *Client) Receive(now time.Time, m Message) []Effect {
	if c.state == offline {
		return nil
	}
	c.heard = now
	switch m := m.(type) {
	case *Close:
		return c.over(nil, closed(m))
	case *Opened:
		return c.open(m)
	}
	if c.state != opened {
		return c.wrong(now, m)
	}
	switch m := m.(type) {
	case *Keepalive:
		if m.Answer {
			return nil
		}
		return c.send(nil, now, &Keepalive{Answer: true})
	case *Acknowledge:
		return c.acknowledge(m)
	case *Command:
		return c.command(now, m)
	}
	return c.wrong(now, m)
}

// wrong ends a connection whose peer violates the protocol.
func (c *Client) wrong(now time.Time, m Message) []Effect {
	err := fmt.Errorf("the receiver sent %T, which is not allowed now", m)
	return c.over(c.send(nil, now, &Close{Reason: Failed, Text: err.Error()}), err)
}

func (c *Client) open(m *Opened) []Effect {
	if c.state != opening || m.Version != Version {
		return c.over(nil, fmt.Errorf("opened in version %d, state %d", m.Version, c.state))
	}
	c.state, c.window = opened, int(m.Window)
	if !m.Resumed {
		c.announced = announced{}
	}
	for id, at := range c.unsettled {
		if within(m.Settled, id) {
			c.settled[id] = at
		}
	}
	clear(c.unsettled)
	return []Effect{Ready{}}
}

// closed returns why the receiver has closed the connection.
func closed(m *Close) error {
	e := &ClosedError{Reason: m.Reason, Text: m.Text}
	if m.Again != nil {
		e.Seconds = int(*m.Again)
	}
	return e
}

// ClosedError is the error if the receiver has closed the connection. It is an
// uplink.RetryAfterError.
type ClosedError struct {
	Reason  Reason
	Text    string
	Seconds int // until the next attempt; 0: not stated
}

func (e *ClosedError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("closed by the receiver: %s", e.Reason)
	}
	return fmt.Sprintf("closed by the receiver: %s: %s", e.Reason, e.Text)
}

// RetryAfter implements uplink.RetryAfterError.
func (e *ClosedError) RetryAfter() int { return e.Seconds }
