package accessdoor

import (
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	accessv1 "gatewayd/schemas/access/v1"
)

// refusedEvery is the shortest interval between reports of refusals.
const refusedEvery = 5 * time.Second

// Refused is the leaf on which an actor with a Door reports refusals.
var Refused = actors.Leaf{Class: "event", Leaf: "refused", Message: &accessv1.Refused{}}

// lookRefused is the tick at which refusals are reported.
type lookRefused struct{}

// Refuse notes that a client was refused. Any goroutine may call it, also before Open.
func (d *Door) Refuse(r access.Refusal) {
	if !d.refused.Add(r) {
		return
	}
	if post := d.post.Load(); post == nil || (*post)(lookRefused{}) != nil {
		d.refused.Asleep()
	}
}

// tellRefused reports the refusals, and schedules the next report if there were any.
func (d *Door) tellRefused(c *actors.Context) {
	all := d.refused.Take()
	for _, r := range all {
		m := &accessv1.Refused{Reason: r.Reason, Count: r.Count, Remote: r.Remote, ClientId: strings.ToValidUTF8(r.Client, ""), Cause: strings.ToValidUTF8(r.Cause, "")}
		switch {
		case r.Identity != "":
			m.Caller = "user/" + r.Identity
		case m.ClientId != "":
			m.Caller = "mqtt/" + m.ClientId
		}
		c.Event(Refused.Leaf, m)
	}
	if len(all) > 0 {
		c.After(refusedEvery, lookRefused{})
	}
}
