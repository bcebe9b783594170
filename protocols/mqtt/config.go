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

// Config configures the broker: its listeners, limits and callbacks. A zero number means the
// default named. The callbacks run in goroutines of the broker, several at once, and possibly
// before Start has returned. A panic in a callback is recovered, counted, and treated as a refusal.
type Config struct {
	Listen string      // host:port; port 0 picks a free one, see Server.Addr
	TLS    *tls.Config // nil: plain TCP
	Doors  []Door      // further listeners

	MaxClients           int // sockets, before and after CONNECT (default 1024)
	MaxClientsPerAddress int // sockets per IPv4 address or IPv6 /64 (default 256)
	// From accept to a complete CONNECT, including the TLS handshake (default 5 s).
	ConnectTimeout time.Duration
	MaxPacket      int // bytes of one MQTT packet, CONNECT at most 64 KiB (default 256 KiB)
	// Bytes waiting for one client; a client that exceeds it is closed (default 1 MiB).
	WriteBuffer int
	Coalesce    time.Duration // a busy client is written to at most this often (default 5 ms)

	// MaxKeepAlive is the longest keep alive of MQTT 5 clients in seconds, which they are told; 0:
	// no limit. Older clients cannot be told.
	MaxKeepAlive uint16

	// Sessions kept for absent clients; the one absent for the longest time is dropped first
	// (default 64).
	MaxSessions int
	// Longest life of such a session, whatever the client asks for (default 24 h).
	SessionExpiry time.Duration
	// Unacknowledged messages per session, 1…65535 (default 1000); four times as many while the
	// client is connected.
	MaxQueued    int
	SessionBytes int // payload bytes queued for one absent client (default 256 KiB)
	// Retained messages of all clients; those of the owner's Publish do not count (default 256).
	MaxRetained int

	// Store is the file for what survives the process: retained messages of clients, and stored
	// sessions with their messages. Empty: nothing survives.
	Store    string
	MaxStore int // its size in bytes (default 32 MiB); anything more is held in memory only

	// Packets per second that a client may send, not counting acknowledgements; 0: no limit.
	Rate int
	// Bytes per second that a client may send; a client that sends more is read more slowly; 0: no
	// limit.
	ByteRate int

	Log *slog.Logger // nil: no logging

	// Authenticate accepts a client (nil error) and returns its identity, or refuses it. It runs in
	// the client's goroutine and may take its time. It must be set: AllowAnyone must be chosen
	// explicitly.
	Authenticate func(ClientInfo) (*access.Identity, error)
	// Authorize reports whether the client may write to a topic or read from a topic or filter. It
	// is called for every publish, subscription, will, response topic and single delivery, so it
	// must be quick and must not block. It can only restrict: clients cannot write to topics that
	// the broker owns whatever it returns. Nil: DefaultAuthorize.
	Authorize func(c ClientInfo, topic string, write bool) bool
	// Intercept selects the publishes that go to OnPublish only. Nil: topics beginning with "cmd/".
	Intercept func(topic string) bool
	// Usual returns the topic on which an intercepted publish is answered by default; empty: there
	// is none. A client needs no permission to name it as its response topic.
	Usual func(topic string) string
	// OnPublish handles an intercepted publish, in the client's goroutine and before the client
	// gets its acknowledgement. An error means "not accepted"; the client is told as far as its
	// version and QoS allow, see DESIGN.md.
	OnPublish func(ClientInfo, Publish) error
	// Open is called for each client about to be accepted, in its goroutine, and may take its time.
	// Its result becomes the client's Session; an error turns the client away. Each accepted client
	// is followed by a SessionDisconnected.
	Open func(ClientInfo) (any, error)
	// Made calls each for the topics under a filter whose last message the owner generates when a
	// client subscribes, as if it were retained. It is meant for content that is large and seldom
	// wanted. Made and make run in the client's goroutine; Made stops when each returns false.
	// Announce announces that such a topic comes or goes.
	Made func(filter string, each func(topic string, make func() (payload []byte, contentType string)) bool)
	// OnPassed is called for publishes and wills of clients that went to subscribers, OnDenied for
	// publishes that a client may not make. Both run in the client's goroutine and must neither
	// block nor change the payload.
	OnPassed func(ClientInfo, Publish)
	OnDenied func(ClientInfo, Publish)
	// OnForbidden is called after OnDenied for an intercepted publish that a client may not make, so
	// that the owner can answer it, and reports whether it has: a client of MQTT 3.1.1 then stays
	// connected. It may be nil.
	OnForbidden func(ClientInfo, Publish) bool
	// OnRefused is called for everything that a client is refused, in any goroutine and possibly
	// with locks held: it must neither block nor call the Server.
	OnRefused func(access.Refusal)
	// OnSession is called for events of sessions and subscriptions; it must not block.
	OnSession func(SessionEvent)
}

const (
	maxConnect    = 64 << 10
	maxPacketSpec = 268435455 // MQTT 5 §1.5.5
)

// withDefaults sets defaults and returns an error if the config cannot work.
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
		return errors.New("Authenticate is missing (AllowAnyone admits every client)")
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
