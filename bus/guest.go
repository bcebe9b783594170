package bus

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Shown is what a client of the listener has to show for himself: the name,
// password and token as he says, the key and the certificate as far as a
// signature and TLS have proven that they are his.
type Shown struct {
	Name        string
	Password    []byte
	Token       string
	Key         string            // public half of a user nkey; "": none
	Certificate *x509.Certificate // nil: none
	Remote      string            // host:port
}

// Guest is who a client turned out to be and what he may use: topics, as
// filters like "cmd/field/#". What a filter of Deny picks is denied, whatever
// Allow says.
type Guest struct {
	Name        string // of the identity
	Allow, Deny []string
	Expires     time.Time // when his connections end; zero: never
	Of          any       // for the guard's own use, who gets it back from Review and as the Proof of his calls

	came time.Time // when he was let in
}

// Guard says who a client of the listener is. It runs in a goroutine of that
// client and may take a moment, for which a Restart waits.
type Guard func(Shown) (Guest, error)

// accountUser begins the name of a guest's account, and with it what Caller
// calls him.
const accountUser = "user/"

// same tells whether g may use what h may.
func (g Guest) same(h Guest) bool {
	return slices.Equal(g.Allow, h.Allow) && slices.Equal(g.Deny, h.Deny) && g.Expires.Equal(h.Expires)
}

// permissions are what g may use as the server has it. A role's filters may also
// be about topics that are none of ours (those of MQTT clients among
// themselves), which say nothing here.
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
			// What is asked for in the body of a request cannot be told apart: who may not have all gets nothing that way.
			if stream, ok := streamOf[p.class]; ok {
				calls.Deny = append(calls.Deny, getKept+stream, getKept+stream+"."+p.subject)
			}
		}
	}
	return &server.Permissions{Publish: calls, Subscribe: hears}
}

// pattern is a filter's part in one class.
type pattern struct {
	class   Class
	subject string
}

// patterns are what a filter picks of each class, on any gateway.
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
		if s, err := Pattern("any", string(c)+"/"+tail); err == nil { // else no subject is called so
			all = append(all, pattern{c, "gw.*" + strings.TrimPrefix(s, "gw.any")})
		}
	}
	return all
}

const getKept = "$JS.API.DIRECT.GET."

var streamOf = map[Class]string{State: streamState, Event: streamEvents}

// kept are the subjects on which what is kept of a pattern may be asked for.
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
