// Package accessdoor is what the kinds that let in clients whom an access-control knows have in common: the policy in
// force, and what is to be done when it changes. It is no kind itself; what a policy means is package protocols/access's
// business.
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
	wishTime  = time.Hour   // after which a wish is made anew
	wishAgain = time.Second // after one that failed
	sweepTime = time.Second // for those whose time is over, and who came in while the policy changed
)

// Door lets clients in. Its methods are the actor's, but for those that goroutines of clients may call, which say so.
type Door struct {
	keeper string
	door   *access.Door // nil: everybody may everything
	policy *access.Policy
	wish   *access.Wish // that has no answer yet
	sweeps *actors.Timer

	refused access.Tally
	post    atomic.Pointer[func(msg any) error] // to the actor
}

type (
	wish struct{} // ask for the policy
	// Sweep tells the actor, which gets it from its Door, to cut off whoever Gone names.
	Sweep struct{}
)

// New makes the door of an actor whose config names keeper; empty: everybody may come in and use everything.
func New(keeper string) *Door {
	if keeper == "" {
		return &Door{}
	}
	return &Door{keeper: keeper, door: access.NewDoor()}
}

// Keeper is the actor that is asked; empty: none is.
func (d *Door) Keeper() string { return d.keeper }

// Open begins to ask for the policy, and to send the actor a Sweep every second.
func (d *Door) Open(c *actors.Context) {
	if d.door != nil {
		d.sweeps = c.Every(sweepTime, Sweep{})
	}
	post := c.Post()
	d.post.Store(&post)
	c.After(0, lookRefused{}) // what nobody could be called for
	d.ask(c)
}

// Close ends that, for an actor that takes another one.
func (d *Door) Close() { d.sweeps.Stop() }

func (d *Door) ask(c *actors.Context) {
	if d.door != nil {
		d.wish = &access.Wish{Have: d.policy}
		c.Ask(d.keeper, d.wish, wishTime)
	}
}

// Receive takes what is for the door; false if msg is not.
func (d *Door) Receive(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *access.Policy:
		if m.Keeper() != d.keeper {
			return true // who was asked before a config named another one
		}
		d.policy = m
		d.door.Set(m)
		c.After(0, Sweep{})
		d.ask(c)
	case wish:
		d.ask(c)
	case lookRefused:
		d.tellRefused(c)
	case actors.Failed:
		of, ok := m.Of.(*access.Wish)
		if !ok || of != d.wish {
			return ok // of who was asked before
		}
		if d.policy == nil {
			c.Degraded("nobody can come in: " + m.Err.Error())
		}
		c.After(wishAgain, wish{})
	default:
		return false
	}
	return true
}

// Ready says whether anybody can come in.
func (d *Door) Ready() bool { return d.door == nil || d.policy != nil }

// Guarded says whether clients must show who they are. Any goroutine may call it.
func (d *Door) Guarded() bool { return d.door != nil }

// Enter says who a client is. Any goroutine may call it; it may take a moment.
func (d *Door) Enter(shown access.Shown) (*access.Identity, error) {
	return d.door.Enter(shown, time.Now())
}

// May tells whether somebody who was let in may use a topic, or hear some of a filter, now. Any goroutine may call it.
func (d *Door) May(id *access.Identity, topic string) bool {
	is := d.door.Now(id, time.Now())
	switch {
	case is == nil:
		return false
	case strings.ContainsAny(topic, "+#"):
		return is.Hears(topic)
	}
	return is.May(topic)
}

// Is says who somebody is now that was let in, with the roles of the moment; nil if
// he may no longer be in. Any goroutine may call it.
func (d *Door) Is(id *access.Identity) *access.Identity { return d.door.Now(id, time.Now()) }

// Out tells whether somebody who was let in may no longer be in. Any goroutine may call it.
func (d *Door) Out(id *access.Identity) bool {
	return id != nil && d.door.Now(id, time.Now()) == nil
}

// Gone is why somebody who was let in is to be cut off; nil: he may stay.
func (d *Door) Gone(id *access.Identity, now time.Time) error {
	if id == nil || d.door == nil {
		return nil
	}
	_, err := d.door.Still(id, now)
	if errors.Is(err, access.ErrClosed) {
		return nil
	}
	return err
}

// Lack is what a listener that other machines can reach lacks; empty: nothing.
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
