// Package httpserver is the actor kind that lets HTTP clients call actors and subscribe to the bus.
// The protocols are in package protocols/web.
package httpserver

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/access"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/web"
	"gatewayd/schemas"
	webv1 "gatewayd/schemas/web/v1"
)

// Kind is the actor kind http-server.
var Kind = actors.Define(actors.Kind{
	Name: "http-server",
	Doc:  "Lets HTTP clients call actors and subscribe to the bus: Connect, gRPC, gRPC-Web, Server-Sent Events, metrics.",
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "insecure", Message: &webv1.Insecure{}},
		{Class: "event", Leaf: "cut", Message: &webv1.Cut{}},
		accessdoor.Refused,
	},
	// The listener is closed and opened again.
	Power: func(proto.Message) *actors.Power { return &actors.Power{} },
	Check: func(config proto.Message) []schemas.Violation {
		return schemas.Wrong("listen", check(config.(*webv1.Server)))
	},
}, func(cfg *webv1.Server) actors.Actor {
	return &server{cfg: cfg, door: accessdoor.New(cfg.Access)}
})

const (
	startTime = 5 * time.Second
	lookEvery = 10 * time.Second // interval of the check that the server answers
	lookTime  = 5 * time.Second
	tolerate  = 3 // consecutive failed checks before the actor fails
)

type server struct {
	cfg    *webv1.Server
	door   *accessdoor.Door
	web    *web.Server // nil until it listens
	misses int
}

type (
	look   struct{}
	looked struct{ err error }
)

func (s *server) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return s.start(c)
	case *web.Server:
		s.web = m
		s.look(c)
		c.Every(lookEvery, look{})
	case *access.Policy:
		s.door.Receive(c, m)
		if s.web != nil {
			s.look(c) // at once: without a policy the server was not healthy
		}
	case accessdoor.Sweep:
		s.sweep(c)
	case look:
		s.sweep(c)
		s.look(c)
	case looked:
		return s.judge(c, m.err)
	case actors.Failed:
		if !s.door.Receive(c, m) {
			return m.Err
		}
	default:
		s.door.Receive(c, msg)
	}
	return nil
}

// check finds what the rules of single fields cannot express.
func check(cfg *webv1.Server) error {
	if warning := exposed(cfg); warning != "" && !cfg.Insecure {
		return fmt.Errorf("listen = %q is outside loopback, and %s: set tls and access, listen on 127.0.0.1, or set insecure = true", cfg.Listen, warning)
	}
	return nil
}

// exposed returns what a listener reachable from other machines lacks; empty: nothing.
func exposed(cfg *webv1.Server) string {
	if !schemas.Exposed(cfg.Listen) {
		return ""
	}
	return accessdoor.Lack(cfg.Tls != nil, cfg.Access != "")
}

func (s *server) start(c *actors.Context) error {
	if err := check(s.cfg); err != nil {
		return actors.Broken(err)
	}
	if warning := exposed(s.cfg); warning != "" {
		c.Log().Warn("insecure: "+warning, "listen", s.cfg.Listen)
		c.Warn("insecure: " + warning)
		c.Event("insecure", &webv1.Insecure{Listen: s.cfg.Listen, Warning: warning})
	}
	s.door.Open(c)
	cfg, files, log := s.config(c), s.cfg.Tls, c.Log()
	c.Do(startTime, func(context.Context) (any, error) {
		if files != nil {
			f := tlsfiles.FilesOf(files)
			var err error
			if cfg.TLS, err = f.Config(func(err error) { log.Warn(err.Error()) }); err != nil {
				return nil, err
			}
		}
		return web.Start(cfg)
	})
	return nil
}

// config returns the configuration of the protocol server. Its callbacks run in client goroutines.
func (s *server) config(c *actors.Context) web.Config {
	gate, door, patience, name := c.Gate(), s.door, s.cfg.CallTimeout.AsDuration(), c.Name()
	cfg := web.Config{
		Listen: s.cfg.Listen, Log: c.Log(),
		MaxClients: int(s.cfg.MaxClients), MaxClientsPerAddress: int(s.cfg.MaxClientsPerAddress),
		MaxStreams: int(s.cfg.MaxRequests), MaxBody: int(s.cfg.MaxBody),
		May: door.May, Refused: door.Refuse,
		Call: func(ctx context.Context, call web.Call, each func(web.Answer) error) error {
			// A stream lasts as long as its client reads.
			if _, set := ctx.Deadline(); !set && !gate.Streams(call.Topic) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, patience)
				defer cancel()
			}
			err := gate.Call(ctx, callerOf(call), call.Topic, call.Service, call.ContentType, call.Payload, func(a actors.Called) error {
				return each(web.Answer{Payload: a.Payload, Stream: a.Stream})
			})
			return typed(err)
		},
		Subscribe: func(ctx context.Context, filter string, say func(web.Message) bool) error {
			return typed(gate.Subscribe(ctx, filter, func(m actors.Delivery) bool {
				return say(web.Message{Topic: m.Topic, ContentType: m.ContentType, Payload: m.Payload})
			}))
		},
		Last: func(ctx context.Context, filter string, say func(web.Message) error) error {
			return typed(gate.Last(ctx, filter, func(m actors.Delivery) error {
				return say(web.Message{Topic: m.Topic, ContentType: m.ContentType, Payload: m.Payload})
			}))
		},
		Pages: map[string]http.HandlerFunc{
			"/healthz": healthz(gate), "/openapi.json": openapi(gate, c.Gateway()), "/catalogue.json": catalogue(gate),
			"/metrics": web.Metrics(func() []web.Family { return append(families(gate.Reports()), modbusFamilies(tallies(gate, name))...) })},
	}
	if door.Guarded() {
		cfg.Authenticate = door.Authenticate
	}
	return cfg
}

// callerOf returns the identity of the client, as far as the server knows it.
func callerOf(call web.Call) actors.Caller {
	w := actors.Caller{Identity: "http/" + call.Remote}
	w.Trace, w.Span = actors.ParseParent(call.Traceparent)
	if id := call.Identity; id != nil {
		w.Proof = id
		if id.Name != access.Anonymous {
			w.Identity = "user/" + id.Name
		}
	}
	return w
}

// typed converts an error to the form of the protocol.
func typed(err error) error {
	if err == nil {
		return nil
	}
	code, text := actors.Explain(err)
	e := &web.Error{Code: code, Message: text}
	for _, d := range actors.Details(err) {
		e.Details = append(e.Details, web.Detail(d))
	}
	return e
}

// sweep ends the requests of clients that may no longer stay.
func (s *server) sweep(c *actors.Context) {
	if s.web == nil {
		return
	}
	cut, now := map[string]*webv1.Cut{}, time.Now()
	s.web.Cut(func(id *access.Identity) bool {
		err := s.door.Gone(id, now)
		if err == nil {
			return false
		}
		if cut[id.Name] == nil {
			cut[id.Name] = &webv1.Cut{Identity: id.Name, Cause: err.Error()}
		}
		cut[id.Name].Requests++
		return true
	})
	for _, m := range cut {
		c.Log().Warn("requests aborted", "identity", m.Identity, "requests", m.Requests, "cause", m.Cause)
		c.Event("cut", m)
	}
}

// look checks that the server still answers.
func (s *server) look(c *actors.Context) {
	running := s.web
	if running.Full() {
		c.Degraded(fmt.Sprintf("the limit of clients is reached: max-clients = %d", s.cfg.MaxClients))
		return
	}
	c.Do(lookTime, func(ctx context.Context) (any, error) { return looked{running.Look(ctx)}, nil })
}

func (s *server) judge(c *actors.Context, err error) error {
	if err != nil {
		if s.misses++; s.misses >= tolerate {
			return actors.Wedged(fmt.Errorf("its own listener did not answer %d times in a row: %w", s.misses, err))
		}
		c.Degraded(err.Error())
		return nil
	}
	s.misses = 0
	if s.door.Ready() {
		c.OK()
	}
	return nil
}
