// Package mqttbridge is the actor kind for a connection to an outside MQTT broker. It sends
// messages of the gateway there, from disk where none may be lost, publishes messages from there at
// the gateway's own broker, and lets actors subscribe to topics there. The connection itself is in
// package protocols/mqttclient, the mapping of topics in protocols/mqttbridge.
package mqttbridge

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/actors/mqttdoor"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/mqttclient"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// Kind is the actor kind mqtt-bridge.
var Kind = actors.Define(actors.Kind{
	Name: "mqtt-bridge",
	Doc:  "Sends messages of the gateway to an outside MQTT broker, and receives messages from there.",
	Services: []protoreflect.ServiceDescriptor{
		actors.Service(mqttv1.File_mqtt_v1_bridge_proto, "BridgeService"), mqttdoor.Service(),
	},
	Publishes: []actors.Leaf{{Class: "state", Leaf: "bridge", Message: &mqttv1.BridgeState{}}},
	Limit:     4096,
	Place:     true,
	Check: func(config proto.Message) []schemas.Violation {
		_, bad := routesOf(config.(*mqttv1.Bridge))
		return bad
	},
	Beside: func(all []schemas.Actor) []schemas.Finding { return mqttclientid.Duplicates("mqtt-bridge", all) },
}, func(cfg *mqttv1.Bridge) actors.Actor { return &bridge{cfg: cfg} })

type bridge struct {
	cfg    *mqttv1.Bridge
	routes routes
	// Name in the gatewayd-via property, by which bridges recognise messages that have passed.
	name   string
	link   link
	outbox outbox
	inbox  inbox
	meter  meter
}

type (
	stated  struct{ filter string } // the last states of the filter were sent
	restate struct{ filter string } // they could not be read: ask again
)

const stateAgain = 10 * time.Second

// minute is the tick at which rates are computed.
type minute struct{}

func (b *bridge) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return b.start(c)
	case actors.Stopped:
		b.silence(c, "the bridge is not running")
		b.tell(c, "offline") // a regular DISCONNECT does not publish the will
	case dial:
		b.dial(c)
	case *mqttclient.Client:
		return b.connected(c, m)
	case undialed:
		b.unconnected(c, m.error)
	case lost:
		b.lost(c, m)
	case actors.Delivery:
		b.deliver(c, m)
	case actors.Kept:
		b.kept(c, m)
	case again:
		b.again(c)
	case took:
		b.took(c, m)
	case outcomes:
		b.acknowledged(c, m)
	case resend:
		b.outbox.paused = false
		b.send(c)
	case unhold:
		b.outbox.held = false
		b.send(c)
	case published:
		m.request.Reply(m.message)
	case unpublished:
		m.request.Refuse(actors.Errorf(actors.Unavailable, "%s", m.err))
	case arrived:
		b.arrive(c, m.Message)
	case subscribed:
		b.inbox.busy = false
		b.subscribe(c)
	case minute:
		b.meter.turn(time.Now())
		if k := b.link.client; k != nil && !k.Open() { // the message about its end was shed
			b.lost(c, lost{b.link.number, mqttclient.ErrLost})
		}
	case listen:
		b.listen(c)
	case restate:
		c.Last(m.filter, stated(m))
	case *mqtt.SubscribeRequest:
		b.subscribeActor(c, m)
	case *mqtt.Delivery:
		b.delivered(c, m)
	case mqtt.SubscriptionLost:
		b.deafen(c, m.Cause)
	case *mqtt.PublishRequest:
		b.publish(c, m)
	case *mqttv1.BridgeStatusRequest:
		b.status(c)
	case *mqttv1.ListUnclaimedRequest:
		b.unclaimed(c, m)
	case actors.Failed:
		return b.failed(c, m)
	}
	return nil
}

func (b *bridge) start(c *actors.Context) error {
	routes, bad := routesOf(b.cfg)
	if len(bad) > 0 {
		return actors.Broken(bad[0])
	}
	b.routes, b.name = routes, c.Gateway()+"/"+c.Name()
	b.outbox.life = rand.Uint64() | 1
	b.link.since = time.Now()
	b.meter.since = time.Now()
	for _, filter := range routes.subjects() {
		if err := c.Subscribe(filter); err != nil {
			return err
		}
	}
	for _, filter := range routes.states(true) {
		c.Last(filter, stated{filter})
	}
	if len(routes.foreign()) > 0 {
		c.Every(renewTime, listen{})
	}
	c.Every(time.Minute, minute{})
	b.dial(c)
	b.send(c)
	return nil
}

// failed handles requests that were not answered.
func (b *bridge) failed(c *actors.Context, m actors.Failed) error {
	switch of := m.Of.(type) {
	case *mqtt.SubscribeRequest:
		_, why := actors.Explain(m.Err)
		b.deafen(c, why)
	case *mqtt.PublishRequest:
		b.meter.refused++
		c.Log().Debug("not accepted by the broker of this gateway", "topic", of.Topic, "err", m.Err)
	case stated:
		c.After(stateAgain, restate(of))
	default: // of a worker; workers report their errors otherwise
		return m.Err
	}
	return nil
}
