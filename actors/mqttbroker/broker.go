// Package mqttbroker is the actor kind that makes the bus available to MQTT clients: readings,
// events and states are published unchanged, and clients can call actors. Sockets, sessions and
// protection against misbehaving clients are in package protocols/mqtt.
package mqttbroker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/actors/mqttdoor"
	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// Kind is the actor kind mqtt-broker.
var Kind = actors.Define(actors.Kind{
	Name: "mqtt-broker",
	Doc:  "Makes the bus available to MQTT clients and accepts their calls.",
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "insecure", Message: &mqttv1.Insecure{}},
		{Class: "event", Leaf: "cut", Message: &mqttv1.Cut{}},
		accessdoor.Refused,
	},
	Services: []protoreflect.ServiceDescriptor{actors.Service(mqttv1.File_mqtt_v1_session_proto, "BrokerService"), mqttdoor.Service()},
	Limit:    4096,
	// The listener is closed and opened again.
	Power: func(proto.Message) *actors.Power { return &actors.Power{} },
	Check: func(config proto.Message) []schemas.Violation {
		cfg := config.(*mqttv1.Broker)
		return slices.Concat(schemas.Wrong("listen", check(cfg)), schemas.Wrong("topics", checkTopics(cfg)), schemas.Wrong("write-buffer", checkBuffer(cfg)))
	},
}, func(cfg *mqttv1.Broker) actors.Actor {
	h := &shared{cfg: cfg, gate: newGate(cfg)}
	return &broker{shared: h, foreign: &foreign{}, sessions: sessions{kind: sessionKind(h), all: map[string]*place{}, taken: map[int]struct{}{}}}
})

const (
	startTime = 5 * time.Second
	closeTime = 2 * time.Second // for the clients to be notified
	listAgain = 10 * time.Second
)

type broker struct {
	*shared
	sessions sessions
	// States received live while the kept ones are still arriving; nil afterwards.
	said    map[string]struct{}
	shed    uint64 // messages shed before the kept states were last requested
	misses  int    // consecutive canary runs that failed
	warned  bool   // a message too large for a packet has been logged
	foreign *foreign
	kinds   []string // kinds announced in the catalogue
}

type (
	listener struct{ *mqtt.Server } // owned by the life
	list     struct{}               // request the kept states
	listed   struct{}               // all kept states have arrived
)

// Close implements io.Closer.
func (l listener) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return l.Server.Close(ctx)
}

func (b *broker) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return b.start(c)
	case actors.Stopped:
		b.leave(c)
	case listener:
		b.server = m.Server
		b.recall(c)
		b.receive(c)
		return b.show(c)
	case actors.Delivery:
		b.deliver(c, m)
	case *arrival:
		b.arrive(c, m)
	case departure:
		b.depart(c, m)
	case actors.Ended:
		b.crashed(c, m)
	case *mqttv1.SessionsRequest:
		b.listSessions(c, m)
	case *mqttv1.DisconnectClientsRequest:
		b.disconnect(c, m)
	case *mqtt.Claim:
		b.claim(c, m)
	case *mqtt.SubscribeRequest:
		b.subscribe(c, m)
	case *mqtt.Delivery:
		b.spread(c, m, "")
	case *mqtt.PublishRequest:
		b.publish(c, m)
	case *mqttv1.ListUnclaimedRequest:
		b.unclaimed(c, m)
	case due:
		b.try(c)
	case canaryDone:
		return b.judge(c, m)
	case *access.Policy:
		b.gate.Receive(c, m)
		if b.server != nil {
			b.try(c) // at once: without a policy the broker was not healthy
		}
	case accessdoor.Sweep:
		b.sweep(c)
	case list:
		b.list(c)
	case listed:
		b.said = nil
	default:
		if !b.gate.Receive(c, msg) {
			return b.failed(c, msg)
		}
	}
	return nil
}

func (b *broker) failed(c *actors.Context, msg any) error {
	m, ok := msg.(actors.Failed)
	if !ok {
		return nil
	}
	switch m.Of.(type) {
	case listed:
		c.Log().Warn("the last states are not loaded yet", "err", m.Err)
		c.After(listAgain, list{})
	default:
		return m.Err
	}
	return nil
}

func (b *broker) start(c *actors.Context) error {
	if err := errors.Join(check(b.cfg), checkTopics(b.cfg)); err != nil {
		return actors.Broken(err)
	}
	if at, warning := exposed(b.cfg); warning != "" {
		c.Log().Warn("insecure: "+warning, "listen", at)
		c.Warn("insecure: " + at + ": " + warning)
		c.Event("insecure", &mqttv1.Insecure{Listen: at, Warning: warning})
	}
	b.gate.Open(c)
	cfg, files, log := b.config(c), b.cfg.Tls, c.Log()
	c.Do(startTime, func(context.Context) (any, error) {
		var err error
		if files != nil {
			f := tlsfiles.FilesOf(files)
			if cfg.TLS, err = f.Config(func(err error) { log.Warn(err.Error()) }); err != nil {
				return nil, err
			}
		}
		s, err := mqtt.Start(cfg)
		if err != nil {
			return nil, err
		}
		return listener{s}, nil
	})
	return nil
}

// check finds what the rules of single fields cannot express.
func check(cfg *mqttv1.Broker) error {
	if err := checkDoors(cfg.Doors); err != nil {
		return err
	}
	if at, warning := exposed(cfg); warning != "" && !cfg.Insecure {
		return fmt.Errorf("listen = %q is outside loopback, and %s: set tls and access, listen on 127.0.0.1, or set insecure = true", at, warning)
	}
	return nil
}

func checkBuffer(cfg *mqttv1.Broker) error {
	if cfg.WriteBuffer < cfg.MaxPacket {
		return fmt.Errorf("%d bytes cannot hold a packet of %d: raise it, or lower max-packet", cfg.WriteBuffer, cfg.MaxPacket)
	}
	return nil
}

// config returns the configuration of the MQTT server. Its callbacks run in client goroutines; they
// only post.
func (b *broker) config(c *actors.Context) mqtt.Config {
	commands := b.cfg.Commands
	return mqtt.Config{
		Listen: b.cfg.Listen, Doors: doors(b.cfg), Log: c.Log(),
		MaxKeepAlive: uint16(b.cfg.MaxKeepAlive.AsDuration() / time.Second),
		MaxClients:   int(b.cfg.MaxClients), MaxClientsPerAddress: int(b.cfg.MaxClientsPerAddress),
		MaxPacket: int(b.cfg.MaxPacket), WriteBuffer: int(b.cfg.WriteBuffer),
		Rate: int(b.cfg.Rate), ByteRate: int(b.cfg.ByteRate),
		Store: b.file(c), MaxStore: int(b.cfg.Store),
		Authenticate: b.gate.authenticate,
		Authorize: func(ci mqtt.ClientInfo, topic string, write bool) bool {
			if write && ci.Identity == nil && b.opened(topic) {
				return true
			}
			if write && strings.HasPrefix(topic, cancelClass) {
				return commands && ownCancel(ci, topic)
			}
			if write && !commands && strings.HasPrefix(topic, "cmd/") {
				return false
			}
			return b.gate.authorize(ci, topic, write)
		},
		Intercept: func(topic string) bool {
			_, ok := b.claims.Path(topic)
			return ok || strings.HasPrefix(topic, "cmd/") || strings.HasPrefix(topic, cancelClass)
		},
		Usual:       b.claims.Response,
		Open:        b.open(c),
		Made:        made(c.Gate()),
		OnPublish:   b.take(c),
		OnSession:   b.sessionEvent(c),
		OnPassed:    b.foreign.inspect(c.Post()),
		OnDenied:    b.foreign.denied,
		OnForbidden: b.forbid, OnRefused: b.gate.Refuse,
	}
}

// file returns the path of the broker's store; empty: nothing is stored.
func (b *broker) file(c *actors.Context) string {
	if dir := c.Dir(); dir != "" && b.cfg.Store > 0 {
		return filepath.Join(dir, "sessions")
	}
	return ""
}

// show publishes the bus to the clients. It subscribes before it requests the kept states, so that
// no state is missed in between.
func (b *broker) show(c *actors.Context) error {
	for _, filter := range []string{"data/#", "event/#", "state/#"} {
		if err := c.Subscribe(filter); err != nil {
			return fmt.Errorf("subscribe to %s: %w", filter, err)
		}
	}
	b.list(c)
	c.Every(canaryEvery, due{})
	return nil
}

func (b *broker) list(c *actors.Context) {
	b.said, b.shed = map[string]struct{}{}, c.Shed()
	c.Last("state/#", listed{})
}

// relist requests all states again if some may have been shed.
func (b *broker) relist(c *actors.Context) {
	if b.said == nil && c.Shed() != b.shed {
		b.list(c)
	}
}

// deliver publishes a message unchanged.
func (b *broker) deliver(c *actors.Context, m actors.Delivery) {
	defer m.Done()
	state := strings.HasPrefix(m.Topic, "state/")
	if m.Topic == indexTopic {
		b.announce(c)
	}
	if state && b.said != nil {
		if _, newer := b.said[m.Topic]; newer && m.Kept {
			return
		}
		if !m.Kept {
			b.said[m.Topic] = struct{}{}
		}
	}
	err := b.server.Publish(m.Topic, m.Payload, state, mqtt.Properties{ContentType: m.ContentType})
	if err != nil && !b.warned {
		b.warned = true
		c.Log().Warn("message not published to MQTT clients; further ones like it are not logged", "err", err)
	}
}
