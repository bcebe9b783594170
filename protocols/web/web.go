// Package web is the HTTP server through which clients call actors and subscribe to the bus: the
// Connect protocol, gRPC and gRPC-Web on HTTP/1.1 and HTTP/2, and Server-Sent Events for browsers
// and curl. It knows no actors: its owner carries out calls and subscriptions.
//
//	POST /field/plc/mixer/modbus.v1.UnitService/ReadRegisters
//	    any Connect, gRPC or gRPC-Web client, with the actor's path before the service
//	POST /cmd/field/plc/mixer/ReadRegisters
//	    the same by its topic, for curl
//	GET  /data/field/#
//	    (# as %23) messages of the bus as Server-Sent Events; also event, state, trace
package web

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"gatewayd/protocols/access"
	"gatewayd/protocols/crowd"
)

// Config configures the server. A zero number means the default named. The callbacks run in client
// goroutines.
type Config struct {
	Listen string      // host:port
	TLS    *tls.Config // nil: plain TCP

	MaxClients int // connections at once (default 256); excess ones wait
	// Of them from one IPv4 address or IPv6 /64 (default 64); excess ones are closed.
	MaxClientsPerAddress int
	MaxBody              int           // bytes of a request (default 1 MiB)
	MaxStreams           int           // requests under way at once (default 512)
	Idle                 time.Duration // a connection without a request is closed (default 2 min)
	// A client that stops reading its answer or sending its request is cut off (default 30 s).
	Stall time.Duration

	Log *slog.Logger // nil: no logging

	// Authenticate returns the identity of a client; nil: clients have no identity and may use
	// everything.
	Authenticate func(access.Presented) (*access.Identity, error)
	// Refused is called for everything that a client is refused; it may be nil. It must not block.
	Refused func(access.Refusal)
	// May reports whether an identity may use a topic or, with wildcards, subscribe to at least a
	// part of a filter.
	May func(id *access.Identity, topic string) bool
	// Call carries out a call. each gets every answer, in order; an error of it ends the call.
	Call func(ctx context.Context, call Call, each func(Answer) error) error
	// Subscribe passes the messages under a filter to say, one after the other, until ctx ends or
	// say returns false. say does not block.
	Subscribe func(ctx context.Context, filter string, say func(Message) bool) error
	// Last passes the stored state of each topic under a filter of class state to say, until say
	// returns an error.
	Last func(ctx context.Context, filter string, say func(Message) error) error
	// Pages are further handlers by path.
	Pages map[string]http.HandlerFunc
}

// Call is a request to an actor.
type Call struct {
	Topic       string // cmd/<path>/<Method>
	Service     string // full name of the service as given by the client; empty: any with the method
	ContentType string // application/json or application/protobuf
	Payload     []byte
	Identity    *access.Identity
	Remote      string // host:port of the client
	Traceparent string
}

// Answer is one answer to a Call.
type Answer struct {
	Payload []byte
	Stream  bool // more may follow
}

// Message is one message on the bus.
type Message struct {
	Topic       string
	ContentType string
	Payload     []byte
}

// Error is why a call failed, with a code of Connect and gRPC like "not_found".
type Error struct {
	Code, Message string
	Details       []Detail // for programs
}

// Detail is a protobuf message about an error, in the form of the Connect protocol.
type Detail struct {
	Type  string          `json:"type"`            // full name
	Value string          `json:"value"`           // base64 without padding
	Debug json.RawMessage `json:"debug,omitempty"` // the same as JSON
}

func (e *Error) Error() string { return e.Message }

// lookHeader marks a request of the server's own Look.
const lookHeader = "Gateway-Look"

const (
	headTime = 5 * time.Second // to send the head of a request
	goodbye  = time.Second
	maxHead  = 16 << 10
)

// Server is a running server.
type Server struct {
	cfg    Config
	http   *http.Server
	net    net.Listener
	door   *door
	unary  http.Handler
	stream http.Handler
	places chan struct{}
	looks  string // value by which the server recognises its own Look
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	once   sync.Once

	mu      sync.Mutex
	present map[*visit]struct{} // requests under way of identities
}

// Start listens and serves until Close.
func Start(cfg Config) (*Server, error) {
	setDefault(&cfg.MaxClients, 256)
	setDefault(&cfg.MaxClientsPerAddress, 64)
	setDefault(&cfg.MaxBody, 1<<20)
	setDefault(&cfg.MaxStreams, 512)
	setDefault(&cfg.Idle, 2*time.Minute)
	setDefault(&cfg.Stall, 30*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, net: l, places: make(chan struct{}, cfg.MaxStreams), cancel: cancel, looks: rand.Text(), done: make(chan struct{}), present: map[*visit]struct{}{}}
	s.handlers()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil) // gRPC without TLS
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), Protocols: &protocols, TLSConfig: withHTTP2(cfg.TLS),
		ReadHeaderTimeout: headTime, IdleTimeout: cfg.Idle, MaxHeaderBytes: maxHead,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(complaints{s}, "", 0),
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 64},
	}
	s.door = newDoor(s)
	go func() {
		defer close(s.done)
		if cfg.TLS != nil {
			s.err = s.http.ServeTLS(s.door, "", "")
			return
		}
		s.err = s.http.Serve(s.door)
	}()
	return s, nil
}

// withHTTP2 makes TLS negotiate HTTP/2 as well. The standard library adds it to the config that it
// is given, but not to one returned by GetConfigForClient.
func withHTTP2(given *tls.Config) *tls.Config {
	if given == nil || given.GetConfigForClient == nil {
		return given
	}
	all := given.Clone()
	all.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := given.GetConfigForClient(hello)
		if c != nil {
			c = c.Clone()
			c.NextProtos = []string{"h2", "http/1.1"}
		}
		return c, err
	}
	return all
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Addr returns the address of the listener.
func (s *Server) Addr() net.Addr { return s.net.Addr() }

// Done returns a channel that is closed when the server has ended; Err then says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server has ended; nil after Close.
func (s *Server) Err() error {
	if errors.Is(s.err, http.ErrServerClosed) {
		return nil
	}
	return s.err
}

// Close ends all requests and waits a moment for them.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	})
	<-s.done
	return nil
}

// Look sends the server a request like a client, and returns an error if it is not answered.
func (s *Server) Look(ctx context.Context) error {
	scheme := "http://"
	if s.cfg.TLS != nil {
		scheme = "https://"
	}
	self, to := crowd.Self(s.net.Addr().String())
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, scheme+to+"/", http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set(lookHeader, s.looks)
	own := &http.Transport{
		DisableKeepAlives: true, DialContext: self.DialContext,
		// The peer is this process.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}
	defer own.CloseIdleConnections()
	answer, err := own.RoundTrip(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
