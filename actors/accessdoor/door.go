// Package accessdoor is what the kinds have in common that admit clients known to an
// access-control: the policy in force, and what to do when it changes. It is no kind itself.
// Package protocols/access evaluates the policy.
package accessdoor

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access"
)

const (
	requestTime  = time.Hour   // after which the request is made again
	requestAgain = time.Second // after a request that failed
	// For identities that have expired, and clients admitted while the policy changed.
	sweepTime = time.Second
)

// Door admits clients. Its methods are for the actor, except where they say that any goroutine may
// call them.
type Door struct {
	keeper  string
	door    *access.Door // nil: no access-control is configured, and everything is allowed
	policy  *access.Policy
	request *access.PolicyRequest // the request under way
	sweeps  *actors.Timer

	refused access.Tally
	post    atomic.Pointer[func(msg any) error] // posts to the actor
}

type (
	requestPolicy struct{} // request the policy
	// Sweep is sent to the actor by its Door: it must cut off every client for which Gone returns
	// an error.
	Sweep struct{}
)

// New returns the door of an actor whose config names keeper as its access-control. If keeper is
// empty, everybody may connect and use everything.
func New(keeper string) *Door {
	if keeper == "" {
		return &Door{}
	}
	return &Door{keeper: keeper, door: access.NewDoor()}
}

// Keeper returns the path of the access-control; empty: none.
func (d *Door) Keeper() string { return d.keeper }

// Open starts requesting the policy, and sends the actor a Sweep every second.
func (d *Door) Open(c *actors.Context) {
	if d.door != nil {
		d.sweeps = c.Every(sweepTime, Sweep{})
	}
	post := c.Post()
	d.post.Store(&post)
	c.After(0, lookRefused{}) // report refusals from before
	d.ask(c)
}

// Close ends the sweeps, for an actor that switches to another Door.
func (d *Door) Close() { d.sweeps.Stop() }

func (d *Door) ask(c *actors.Context) {
	if d.door != nil {
		d.request = &access.PolicyRequest{Have: d.policy}
		c.Ask(d.keeper, d.request, requestTime)
	}
}

// Receive handles a message for the door. It returns false if the message is for something else.
func (d *Door) Receive(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *access.Policy:
		if m.Keeper() != d.keeper {
			return true // from an access-control that an earlier config named
		}
		d.policy = m
		d.door.Set(m)
		c.After(0, Sweep{})
		d.ask(c)
	case requestPolicy:
		d.ask(c)
	case lookRefused:
		d.tellRefused(c)
	case actors.Failed:
		of, ok := m.Of.(*access.PolicyRequest)
		if !ok || of != d.request {
			return ok // an answer of the previous access-control
		}
		if d.policy == nil {
			c.Degraded("no client is admitted: " + m.Err.Error())
		}
		c.After(requestAgain, requestPolicy{})
	default:
		return false
	}
	return true
}

// Ready reports whether clients can be admitted.
func (d *Door) Ready() bool { return d.door == nil || d.policy != nil }

// Guarded reports whether clients must authenticate. Any goroutine may call it.
func (d *Door) Guarded() bool { return d.door != nil }

// Authenticate returns the identity of a client. Any goroutine may call it; it may take a moment.
func (d *Door) Authenticate(shown access.Presented) (*access.Identity, error) {
	return d.door.Authenticate(shown, time.Now())
}

// May reports whether an admitted client may use a topic now, or subscribe to at least a part of a
// filter. Any goroutine may call it.
func (d *Door) May(id *access.Identity, topic string) bool {
	is := d.door.Current(id, time.Now())
	switch {
	case is == nil:
		return false
	case strings.ContainsAny(topic, "+#"):
		return is.MaySubscribe(topic)
	}
	return is.May(topic)
}

// Current returns the present identity of an admitted client, with its present roles; nil if it may
// no longer stay. Any goroutine may call it.
func (d *Door) Current(id *access.Identity) *access.Identity { return d.door.Current(id, time.Now()) }

// Out reports whether an admitted client may no longer stay. Any goroutine may call it.
func (d *Door) Out(id *access.Identity) bool {
	return id != nil && d.door.Current(id, time.Now()) == nil
}

// Gone returns why an admitted client is to be cut off; nil: it may stay.
func (d *Door) Gone(id *access.Identity, now time.Time) error {
	if id == nil || d.door == nil {
		return nil
	}
	_, err := d.door.Recheck(id, now)
	if errors.Is(err, access.ErrClosed) {
		return nil
	}
	return err
}

// Lack returns what a listener reachable from other machines lacks; empty: nothing.
func Lack(encrypted, guarded bool) string {
	switch {
	case encrypted && guarded:
		return ""
	case !encrypted && !guarded:
		return "clients are neither encrypted nor authenticated"
	case !encrypted:
		return "clients are not encrypted"
	}
	return "clients are not authenticated"
}
