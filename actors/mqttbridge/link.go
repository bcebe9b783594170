package mqttbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/backoff"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/tlsfiles"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	dialTime = 20 * time.Second
	// A connection lost within this time suggests that the broker objects to it, or that another
	// client uses the same id.
	soon = 10 * time.Second
)

// link is the connection to the outside broker.
type link struct {
	client  *mqttclient.Client // nil: not connected
	number  int                // of the connection or of the attempt
	dialing bool
	since   time.Time
	cause   string
	failed  int // consecutive failed attempts
	brief   int // consecutive connections lost soon
}

type (
	dial     struct{}        // connect
	undialed struct{ error } // the attempt failed
	lost     struct {        // the connection with that number ended
		number int
		err    error
	}
)

func (b *bridge) clientID(c *actors.Context) string {
	if id := b.cfg.GetLogin().GetClientId(); id != "" {
		return id
	}
	return mqttclient.IDOf(c.Gateway(), c.Name())
}

func (b *bridge) dial(c *actors.Context) {
	if b.link.dialing || b.link.client != nil {
		return
	}
	b.link.number++
	b.link.dialing = true
	cfg := b.config(c)
	c.Do(dialTime, func(ctx context.Context) (any, error) {
		k, err := mqttclient.Dial(ctx, cfg)
		if err != nil {
			return undialed{err}, nil
		}
		return k, nil
	})
}

func (b *bridge) config(c *actors.Context) mqttclient.Config {
	l, post, number := b.cfg.GetLogin(), c.Post(), b.link.number
	cfg := mqttclient.Config{
		URL: b.cfg.Url, Version: 5, ClientID: b.clientID(c), Username: l.GetUsername(), Password: l.GetPassword(),
		TLS:       tlsfiles.ClientOf(b.cfg.GetTls()),
		KeepAlive: b.cfg.KeepAlive.AsDuration(), Session: b.cfg.SessionExpiry.AsDuration(), Window: int(b.cfg.InFlight),
		Most: int(b.cfg.MaxPayload) + 1<<16 + 1024, Subscriptions: b.subscriptions(post),
		OnLost: func(err error) { _ = post(lost{number, err}) },
	}
	if b.cfg.Version == "3.1.1" {
		cfg.Version = 4
	}
	if t := b.cfg.StatusTopic; t != "" {
		cfg.Will = &mqttclient.Message{Topic: t, Payload: []byte("offline"), QoS: 1, Retain: true}
	}
	return cfg
}

func (b *bridge) connected(c *actors.Context, k *mqttclient.Client) error {
	b.link.dialing = false
	b.link.client = k
	if !k.Open() { // its end was reported before its beginning
		b.lost(c, lost{b.link.number, errors.New("the connection was lost immediately")})
		return nil
	}
	b.link.failed, b.link.since = 0, time.Now()
	b.tell(c, "online")
	c.State("bridge", b.state())
	c.Log().Info("connected", "url", b.cfg.Url)
	for _, filter := range b.routes.states(false) {
		c.Last(filter, stated{filter})
	}
	b.judge(c)
	b.subscribe(c)
	b.send(c)
	return nil
}

// tell publishes the bridge's status at the outside broker.
func (b *bridge) tell(c *actors.Context, word string) {
	t := b.cfg.StatusTopic
	if t == "" || b.link.client == nil {
		return
	}
	if err := b.link.client.Post(mqttclient.Message{Topic: t, Payload: []byte(word), QoS: 1, Retain: true}, nil); err != nil {
		c.Log().Debug("status not published", "err", err)
	}
}

// lost handles the end of a connection, if it is the current one.
func (b *bridge) lost(c *actors.Context, m lost) {
	if b.link.client == nil || m.number != b.link.number {
		return
	}
	c.Log().Warn("disconnected", "url", b.cfg.Url, "err", m.err)
	c.Close(b.link.client)
	b.link.client = nil
	b.shed()
	if b.link.brief++; time.Since(b.link.since) >= soon {
		b.link.brief = 0
	}
	b.link.since = time.Now()
	b.silence(c, m.err.Error())
	b.unconnected(c, m.err)
}

// unconnected schedules the next attempt: at once after a connection that lasted, then less and
// less often; also if connections are repeatedly lost soon.
func (b *bridge) unconnected(c *actors.Context, err error) {
	b.link.dialing = false
	b.link.cause = err.Error()
	c.State("bridge", b.state())
	b.judge(c)
	c.After(backoff.Pause(max(b.link.failed, b.link.brief-1), backoff.Near, b.cfg.MaxBackoff.AsDuration()), dial{})
	b.link.failed++
}

// silence tells the actors that subscribe to outside topics that they are cut off.
func (b *bridge) silence(c *actors.Context, why string) {
	for _, who := range b.inbox.subscriptions.Subscribers() {
		c.Tell(who, mqtt.SubscriptionLost{Cause: why})
	}
	b.inbox.asked, b.inbox.last = nil, nil
}

func (b *bridge) state() *mqttv1.BridgeState {
	l := &b.link
	return &mqttv1.BridgeState{
		Connected: l.client != nil, Since: timestamppb.New(l.since), Url: b.cfg.Url, Cause: l.cause, Attempts: uint32(l.failed),
	}
}

// judge reports the health of the bridge.
func (b *bridge) judge(c *actors.Context) {
	switch {
	case b.link.client == nil && b.link.cause != "":
		c.Unreachable(b.link.cause)
	case b.link.client == nil:
	case b.outbox.fault != "":
		c.Degraded("outbox: " + b.outbox.fault)
	case b.inbox.deaf != "":
		c.Degraded("broker " + b.cfg.Broker + ": " + b.inbox.deaf)
	case b.outbox.refusal != "":
		c.Degraded("not sent: " + b.outbox.refusal)
	case b.outbox.stuck != "":
		c.Degraded(fmt.Sprintf("not sent: %s", b.outbox.stuck))
	default:
		c.OK()
	}
}
