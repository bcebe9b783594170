package bus

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Presented holds the credentials that a client of the listener presents: name, password and token
// as sent, key and certificate only if a signature and TLS have proven that they are the client's.
type Presented struct {
	Name        string
	Password    []byte
	Token       string
	Key         string            // public half of a user nkey; "": none
	Certificate *x509.Certificate // nil: none
	Remote      string            // host:port
}

// Guest is the identity of a client and what it may use: topics, as filters like "cmd/field/#".
// Deny takes precedence over Allow.
type Guest struct {
	Name        string // name of the identity
	Allow, Deny []string
	Expires     time.Time // when the client's connections end; zero: never
	Of          any       // for the guard's own use; returned to it by Review and as Caller.Proof of the guest's calls

	came time.Time // when the guest was admitted
}

// Guard identifies a client of the listener. It runs in a goroutine of that client and may take a
// moment; a Restart waits for it.
type Guard func(Presented) (Guest, error)

// accountUser is the prefix of the account names of guests, and of their Caller.Identity.
const accountUser = "user/"

// same reports whether g and h may use the same things.
func (g Guest) same(h Guest) bool {
	return slices.Equal(g.Allow, h.Allow) && slices.Equal(g.Deny, h.Deny) && g.Expires.Equal(h.Expires)
}

// permissions returns the rights of g as server permissions. A role's filters may also match topics
// that are not subjects of a gateway (those of MQTT clients among themselves); they have no effect
// here.
func (g Guest) permissions() *server.Permissions {
	hears, calls := &server.SubjectPermission{Allow: []string{inboxAny + ".>"}}, &server.SubjectPermission{Allow: slices.Clone(discovery[:])}
	for _, f := range g.Allow {
		for _, p := range patterns(f) {
			if p.class == Cmd {
				calls.Allow = append(calls.Allow, p.subject)
				continue
			}
			hears.Allow = append(hears.Allow, p.subject)
			calls.Allow = append(calls.Allow, kept(p)...)
		}
	}
	for _, f := range g.Deny {
		for _, p := range patterns(f) {
			if p.class == Cmd {
				calls.Deny = append(calls.Deny, p.subject)
				continue
			}
			hears.Deny = append(hears.Deny, p.subject)
			// A subject inside the body of a request cannot be checked: if anything of a class is
			// denied, requests that name the subject in the body are denied too.
			if stream, ok := streamOf[p.class]; ok {
				calls.Deny = append(calls.Deny, getKept+stream, getKept+stream+"."+p.subject)
			}
		}
	}
	return &server.Permissions{Publish: calls, Subscribe: hears}
}

// pattern is the part of a filter that concerns one class.
type pattern struct {
	class   Class
	subject string
}

// patterns returns what a filter matches in each class, on any gateway.
func patterns(filter string) (all []pattern) {
	first, rest, more := strings.Cut(filter, "/")
	for _, c := range [...]Class{Data, Event, State, Trace, Cmd} {
		tail := rest
		switch {
		case first == "#":
			tail = "#"
		case first != "+" && first != string(c), !more:
			continue
		}
		if s, err := Pattern("any", string(c)+"/"+tail); err == nil { // otherwise it matches no subject
			all = append(all, pattern{c, "gw.*" + strings.TrimPrefix(s, "gw.any")})
		}
	}
	return all
}

const getKept = "$JS.API.DIRECT.GET."

var streamOf = map[Class]string{State: streamState, Event: streamEvents}

// kept returns the subjects on which the stored messages of a pattern may be requested.
func kept(p pattern) []string {
	stream, ok := streamOf[p.class]
	switch {
	case !ok:
		return nil
	case p.subject == "gw.*."+string(p.class)+".>":
		return []string{getKept + stream, getKept + stream + ".>"}
	}
	return []string{getKept + stream + "." + p.subject}
}
