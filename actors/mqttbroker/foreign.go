package mqttbroker

import (
	"time"

	"gatewayd/actors"
	"gatewayd/actors/mqttdoor"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// foreign handles the topics that clients publish among themselves.
type foreign struct {
	subscriptions mqtt.ActorSubscriptions
	unclaimed     mqtt.Unclaimed
}

// checkTopics checks the topics on which clients may publish.
func checkTopics(cfg *mqttv1.Broker) error {
	for _, filter := range cfg.Topics {
		if err := mqtt.CheckForeign(filter); err != nil {
			return err
		}
	}
	return nil
}

// opened reports whether a client without an identity may publish on a topic. It runs in client
// goroutines.
func (b *broker) opened(topic string) bool {
	if _, ok := b.claims.Path(topic); ok {
		return true
	}
	for _, filter := range b.cfg.Topics {
		if mqtt.Covers(filter, topic) {
			return true
		}
	}
	return b.foreign.subscriptions.Any(topic)
}

// inspect returns the function that sees what clients publish among themselves. It runs in client
// goroutines and passes on what an actor subscribes to.
func (f *foreign) inspect(post func(any) error) func(mqtt.ClientInfo, mqtt.Publish) {
	return func(ci mqtt.ClientInfo, p mqtt.Publish) {
		if !f.subscriptions.Any(p.Topic) {
			f.addUnclaimed(ci, p, false)
			return
		}
		// A shed message is counted.
		_ = post(&mqtt.Delivery{Topic: p.Topic, Payload: p.Payload, Client: ci.ID, Expiry: p.Expiry, User: p.User})
	}
}

// denied notes a message that a client was not allowed to publish. It runs in the client's
// goroutine.
func (f *foreign) denied(ci mqtt.ClientInfo, p mqtt.Publish) { f.addUnclaimed(ci, p, true) }

func (f *foreign) addUnclaimed(ci mqtt.ClientInfo, p mqtt.Publish, refused bool) {
	f.unclaimed.Add(mqtt.UnclaimedTopic{Topic: p.Topic, Client: ci.ID, Payload: p.Payload, Time: time.Now(), Refused: refused})
}

// subscribe registers an actor's subscription and sends it the retained messages.
func (b *broker) subscribe(c *actors.Context, m *mqtt.SubscribeRequest) {
	if b.server == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "the broker is not listening yet"))
		return
	}
	answer := *m
	answer.Fresh = !b.foreign.subscriptions.Has(m.Path)
	fresh, err := b.foreign.subscriptions.Update(m, time.Now())
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	c.Reply(&answer)
	for _, filter := range fresh {
		for _, p := range b.server.Retained(filter) {
			c.Tell(m.Path, &mqtt.Delivery{Topic: p.Topic, Payload: p.Payload, Retained: true, User: p.User})
		}
	}
}

// leave tells all actors with subscriptions that they have ended.
func (b *broker) leave(c *actors.Context) {
	for _, path := range b.foreign.subscriptions.Subscribers() {
		c.Tell(path, mqtt.SubscriptionLost{Cause: "the broker is not running"})
	}
}

// spread sends a message to all actors that subscribe to its topic, except to its sender.
func (b *broker) spread(c *actors.Context, m *mqtt.Delivery, from string) {
	for _, path := range b.foreign.subscriptions.Paths(m.Topic) {
		if path != from {
			c.Tell(path, m)
		}
	}
}

// publish publishes for an actor.
func (b *broker) publish(c *actors.Context, m *mqtt.PublishRequest) {
	if b.server == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "the broker is not listening yet"))
		return
	}
	err := m.Check()
	if err == nil {
		err = b.server.Publish(m.Topic, m.Payload, m.Retain, mqtt.Properties{Expiry: m.Expiry, User: m.User})
	}
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	c.Reply(m)
	b.spread(c, &mqtt.Delivery{Topic: m.Topic, Payload: m.Payload, Expiry: m.Expiry, User: m.User}, m.Path)
}

// unclaimed lists the topics that no actor subscribes to, by device where one is recognised.
func (b *broker) unclaimed(c *actors.Context, m *mqttv1.ListUnclaimedRequest) {
	c.Reply(mqttdoor.Unclaimed(b.foreign.unclaimed.List(m.Filter, func(topic string) bool { return !b.foreign.subscriptions.Any(topic) })))
}
