package bus

import (
	"net"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Reasons of a Refusal.
const (
	RefusedStranger    = "stranger"    // it does not speak TLS as the listener wants it
	RefusedCrowd       = "crowd"       // all places are taken
	RefusedCredentials = "credentials" // who it is could not be told
	RefusedTopic       = "topic"       // it may not send to, or hear, that subject
	RefusedPacket      = "packet"      // it does not speak NATS, or sends too much at once
)

// Refusal is something that a client of the listener was refused.
type Refusal struct {
	Reason string
	Remote string // host:port
	Guest  string // name of the identity; empty: none is known
	Cause  string
}

// refuse tells the owner.
func (e *entrance) refuse(r Refusal) {
	if e.cfg.Refused != nil {
		e.cfg.Refused(r)
	}
}

// refused is who was not let in.
func (e *entrance) refused(c server.ClientAuthentication, err error) {
	if _, ok := c.RemoteAddress().(*net.TCPAddr); !ok { // it is a connection of this process
		return
	}
	e.mu.Lock()
	e.judged[c.GetID()] = true
	e.mu.Unlock()
	e.refuse(Refusal{Reason: RefusedCredentials, Remote: remote(c), Cause: err.Error()})
}

// complaint is a line of the server's log about a client: who it is, and what it did.
// The server has no other way to say so.
//
//	127.0.0.1:50002 - cid:7 - "v1.0:nats.go" - "user:vera" - Publish Violation - Subject "gw.test.cmd.lab.Describe"
func (e *entrance) complaint(line string) {
	from, rest, ok := strings.Cut(line, " - cid:")
	if !ok {
		return
	}
	id, _, _ := strings.Cut(rest, " ")
	r := Refusal{Remote: from}
	for _, known := range complaints {
		if at := strings.LastIndex(rest, known.says); at >= 0 {
			r.Reason, r.Cause = known.reason, rest[at:]
			break
		}
	}
	if r.Reason == "" {
		return
	}
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return
	}
	e.mu.Lock()
	r.Guest = e.guests[n].Name
	told := e.judged[n] && r.Reason == RefusedCredentials
	if told {
		delete(e.judged, n)
	}
	e.mu.Unlock()
	if !told {
		e.refuse(r)
	}
}

// complaints are what the server says of clients.
var complaints = [...]struct{ says, reason string }{
	{server.ErrAuthentication.Error(), RefusedCredentials}, // who said nothing of himself was not asked about
	{"Publish Violation", RefusedTopic},
	{"Subscription Violation", RefusedTopic},
	{noTLS, RefusedStranger},
	{"parser ERROR", RefusedPacket},
	{server.ErrMaxControlLine.Error(), RefusedPacket},
	{server.ErrMaxPayload.Error(), RefusedPacket},
	{server.ErrTooManySubs.Error(), RefusedCrowd},
	{server.ErrTooManyConnections.Error(), RefusedCrowd},
}
