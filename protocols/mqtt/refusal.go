package mqtt

import (
	"cmp"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Reasons of a Refusal.
const (
	RefusedStranger    = "stranger"    // what came in did not say CONNECT, or not in time
	RefusedCrowd       = "crowd"       // all places are taken, or all of one address
	RefusedCredentials = "credentials" // who it is could not be told
	RefusedClientID    = "client-id"   // the client id is somebody else's, or is none
	RefusedWill        = "will"        // its last will may not be said there
	RefusedTopic       = "topic"       // it may not publish or subscribe there
	RefusedPacket      = "packet"      // a packet that is too large, malformed or not allowed at that point
	RefusedReader      = "reader"      // it does not read what it has asked for
	RefusedBusy        = "busy"        // the broker could not take it
	RefusedDescriptors = "descriptors" // the process had no file descriptor for it
)

// Refusal is what was refused for one reason since the broker began.
type Refusal struct {
	Reason string
	Count  uint64
	// Of the latest one, as far as known.
	Remote, Client, Identity, Cause string
}

// tally counts refusals. There are never more than there are reasons.
type tally struct {
	mu  sync.Mutex
	all map[string]*Refusal
}

func (t *tally) add(r Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]*Refusal{}
	}
	if old := t.all[r.Reason]; old != nil {
		r.Count = old.Count
	}
	r.Count++
	t.all[r.Reason] = &r
}

// Refusals lists what was refused so far, by reason.
func (s *Server) Refusals() []Refusal {
	t := &s.guard.refused
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Refusal
	for _, r := range t.all {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Refusal) int { return cmp.Compare(a.Reason, b.Reason) })
	return all
}

// refused counts something that a client was refused.
func (c *conn) refused(reason string, cause error) {
	r := Refusal{Reason: reason, Client: c.info.ID, Cause: cause.Error(), Remote: remoteOf(c.Conn)}
	if c.info.Identity != nil {
		r.Identity = c.info.Identity.Name
	}
	c.guard.refused.add(r)
}

func remoteOf(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// turnedAway is the reason of a CONNECT that was answered with a code.
func turnedAway(code packets.Code) string {
	switch code {
	case packets.ErrBadUsernameOrPassword, packets.ErrBadAuthenticationMethod:
		return RefusedCredentials
	case packets.ErrClientIdentifierNotValid:
		return RefusedClientID
	case packets.ErrNotAuthorized:
		return RefusedWill
	case packets.ErrServerBusy, packets.ErrServerUnavailable:
		return RefusedBusy
	}
	return RefusedPacket
}

// ended is the reason for which a connection ended by itself; empty: there is nothing to refuse about it.
func (c *conn) ended(err error) string {
	var code packets.Code
	switch {
	case err == nil, c.judged:
	case !c.ready.Load():
		if c.seen == 0 && errors.Is(err, io.EOF) { // somebody looked whether anybody listens
			return ""
		}
		return RefusedStranger
	case errors.Is(err, errPanicked), errors.As(err, &code) && code.Code >= 0x80:
		return RefusedPacket
	}
	return ""
}
