package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gatewayd/protocols/access"
)

// Config says where the broker listens, what it grants and whom it asks. A zero number means the default named.
// The callbacks run in goroutines of the broker, several at once, and possibly before Start has returned; what they panic
// with is recovered, counted, and taken for a refusal.
type Config struct {
	Listen string      // host:port; port 0 picks a free one, see Server.Addr
	TLS    *tls.Config // nil: plain TCP
	Doors  []Door      // more ways in

	MaxClients           int           // sockets, CONNECT seen or not (default 1024)
	MaxClientsPerAddress int           // sockets per IPv4 address or IPv6 /64 (default 256)
	ConnectTimeout       time.Duration // from accept to a whole CONNECT, TLS handshake included (default 5 s)
	MaxPacket            int           // bytes of one MQTT packet, CONNECT at most 64 KiB (default 256 KiB)
	WriteBuffer          int           // bytes waiting for one client; the client that overflows it is closed (default 1 MiB)
	Coalesce             time.Duration // a busy client is written to at most this often (default 5 ms)

	// MaxKeepAlive is the longest keep alive of MQTT 5 clients, seconds, which they are told; 0: whatever they want. Older ones cannot be told.
	MaxKeepAlive uint16

	MaxSessions   int           // sessions kept for absent clients; the longest absent one goes first (default 64)
	SessionExpiry time.Duration // longest life of such a session, whatever the client asks (default 24 h)
	MaxQueued     int           // unacknowledged messages per session, 1…65535 (default 1000); four times as many while the client is there
	SessionBytes  int           // payload bytes queued for one absent client (default 256 KiB)
	MaxRetained   int           // retained messages of all clients; the owner's own Publish is not counted (default 256)

	// Store is the file for what outlives the process: retained messages of clients, and stored sessions with their messages.
	// Empty: nothing does.
	Store    string
	MaxStore int // bytes of it (default 32 MiB); what does not fit is held in memory only

	Rate     int // packets per second that a client may send, acknowledgements left out; 0: no limit
	ByteRate int // bytes per second likewise; who sends more is read more slowly

	Log *slog.Logger // nil: silent

	// Authenticate accepts a client (nil error) and says who it is, or refuses it. It runs in the client's goroutine and
	// may take its time. It must be set: AllowAnyone is a choice, not a default.
	Authenticate func(ClientInfo) (*access.Identity, error)
	// Authorize says whether the client may write to a topic or read from a topic or filter. It is asked for every
	// publish, subscription, will, response topic and every single delivery, so it must be quick and must not block. It
	// can only narrow: the topics the broker owns stay closed to writers whatever it says. Nil: DefaultAuthorize.
	Authorize func(c ClientInfo, topic string, write bool) bool
	// Intercept picks the publishes that go to OnPublish and to nobody else. Nil: topics beginning with "cmd/".
	Intercept func(topic string) bool
	// Usual is where an intercepted publish on a topic is answered anyway, if there is such a place: whoever names it as
	// his response topic needs no permission for that. Nil: there is none.
	Usual func(topic string) string
	// OnPublish takes an intercepted publish, in the client's goroutine and before the client is acknowledged. An error
	// means "not taken": the client is told so in the way its version and QoS allow, see DESIGN.md.
	OnPublish func(ClientInfo, Publish) error
	// Open is asked for each client that is about to be let in, in its goroutine, and may take its time. What it returns
	// is the client's Session from then on; an error turns the client away. For each client let in there is a SessionDisconnected.
	Open func(ClientInfo) (any, error)
	// Made hands each the topics under a filter whose last word the owner makes when somebody subscribes, as if it were
	// retained: what is large and seldom wanted. It runs in the client's goroutine, make as well, and stops when each returns false.
	// That one comes or goes is said by Announce.
	Made func(filter string, each func(topic string, make func() (payload []byte, contentType string)) bool)
	// OnPassed hears of publishes and wills of clients that went to subscribers, OnDenied of publishes that a client may not
	// make. Both run in the client's goroutine, must not block and do not change the payload.
	OnPassed func(ClientInfo, Publish)
	OnDenied func(ClientInfo, Publish)
	// OnRefused hears of everything that a client is refused, in whatever goroutine and with whatever lock: it must neither block nor call the Server.
	OnRefused func(access.Refusal)
	// OnSession hears of sessions and subscriptions; it must not block.
	OnSession func(SessionEvent)
}

const (
	maxConnect    = 64 << 10
	maxPacketSpec = 268435455 // MQTT 5 §1.5.5
)

// withDefaults fills what is zero and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.MaxClients, 1024)
	setDefault(&c.MaxClientsPerAddress, 256)
	setDefault(&c.ConnectTimeout, 5*time.Second)
	setDefault(&c.MaxPacket, 256<<10)
	setDefault(&c.WriteBuffer, 1<<20)
	setDefault(&c.Coalesce, 5*time.Millisecond)
	setDefault(&c.MaxSessions, 64)
	setDefault(&c.SessionExpiry, 24*time.Hour)
	setDefault(&c.MaxQueued, 1000)
	setDefault(&c.SessionBytes, 256<<10)
	setDefault(&c.MaxRetained, 256)
	setDefault(&c.MaxStore, 32<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Authorize == nil {
		c.Authorize = DefaultAuthorize
	}
	if c.Intercept == nil {
		c.Intercept = func(topic string) bool { return strings.HasPrefix(topic, "cmd/") }
	}
	if c.Usual == nil {
		c.Usual = func(string) string { return "" }
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Authenticate == nil:
		return errors.New("no Authenticate: who may connect must be said (AllowAnyone lets all in)")
	case c.MaxPacket < 1024 || c.MaxPacket > maxPacketSpec:
		return fmt.Errorf("max packet %d bytes: must be 1024 to %d", c.MaxPacket, maxPacketSpec)
	case c.WriteBuffer < c.MaxPacket:
		return fmt.Errorf("write buffer %d bytes: must hold a packet of %d", c.WriteBuffer, c.MaxPacket)
	case c.MaxQueued > 65535:
		return fmt.Errorf("max queued %d: must be 1 to 65535", c.MaxQueued)
	case c.SessionExpiry < time.Second || c.SessionExpiry > 365*24*time.Hour:
		return fmt.Errorf("session expiry %v: must be 1 s to a year", c.SessionExpiry)
	case c.MaxClients < 0 || c.MaxClientsPerAddress < 0 || c.ConnectTimeout < 0 || c.Coalesce < 0 ||
		c.Rate < 0 || c.ByteRate < 0 || c.MaxSessions < 0 || c.MaxQueued < 0 || c.SessionBytes < 0 || c.MaxStore < 0 || c.MaxRetained < 0:
		return errors.New("a limit is negative")
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
