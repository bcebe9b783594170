package bus

import (
	"net"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Reasons of a Refusal.
const (
	RefusedStranger    = "stranger"    // the client does not speak TLS as the listener requires
	RefusedCrowd       = "crowd"       // too many connections or subscriptions
	RefusedCredentials = "credentials" // the credentials are missing or invalid
	RefusedTopic       = "topic"       // the client may not publish or subscribe to that subject
	RefusedPacket      = "packet"      // the client does not speak NATS, or exceeds a size limit
)

// Refusal describes something that a client of the listener was refused.
type Refusal struct {
	Reason string
	Remote string // host:port
	Guest  string // name of the identity; empty: unknown
	Cause  string
}

// refuse reports r to Config.Refused.
func (e *authenticator) refuse(r Refusal) {
	if e.cfg.Refused != nil {
		e.cfg.Refused(r)
	}
}

// refused reports a client that failed authentication.
func (e *authenticator) refused(c server.ClientAuthentication, err error) {
	if _, ok := c.RemoteAddress().(*net.TCPAddr); !ok { // a connection of this process
		return
	}
	e.mu.Lock()
	e.judged[c.GetID()] = true
	e.mu.Unlock()
	e.refuse(Refusal{Reason: RefusedCredentials, Remote: remote(c), Cause: err.Error()})
}

// complaint handles a line of the server's log about a client; the server has no other way to
// report who did what.
//
//	127.0.0.1:50002 - cid:7 - "v1.0:nats.go" - "user:vera" - Publish Violation - Subject "gw.test.cmd.lab.Describe"
func (e *authenticator) complaint(line string) {
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

// complaints maps texts in the server's log to reasons.
var complaints = [...]struct{ says, reason string }{
	{server.ErrAuthentication.Error(), RefusedCredentials}, // a client that sent no credentials was never passed to the authenticator
	{"Publish Violation", RefusedTopic},
	{"Subscription Violation", RefusedTopic},
	{noTLS, RefusedStranger},
	{"parser ERROR", RefusedPacket},
	{server.ErrMaxControlLine.Error(), RefusedPacket},
	{server.ErrMaxPayload.Error(), RefusedPacket},
	{server.ErrTooManySubs.Error(), RefusedCrowd},
	{server.ErrTooManyConnections.Error(), RefusedCrowd},
}
