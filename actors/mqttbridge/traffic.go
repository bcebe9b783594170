package mqttbridge

import (
	"context"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/mqttdoor"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	renewTime  = 5 * time.Second
	brokerTime = 2 * time.Second // for an answer of the gateway's own broker
	heldTopics = 1000            // topics whose last message is kept for actors that subscribe later
	heldBytes  = 4 << 10         // largest payload kept, in bytes
)

// inbox is the state of incoming messages.
type inbox struct {
	subscriptions mqtt.ActorSubscriptions // subscriptions of actors to outside topics
	asked         map[string]bool         // filters subscribed to in addition to the config's
	busy          bool                    // a SUBSCRIBE is under way
	last          map[string][]byte       // last payload of each outside topic that an actor subscribes to by name
	unclaimed     mqtt.Unclaimed
	deaf          string // why our own broker cannot be heard
}

type (
	listen     struct{}                     // subscribe at our own broker to what goes out
	arrived    struct{ mqttclient.Message } // from the outside broker
	subscribed struct{}
	published  struct {
		request *actors.Request
		message *mqtt.PublishRequest
	}
	unpublished struct {
		request *actors.Request
		err     error
	}
)

// subscriptions returns the subscriptions to make at the beginning of a connection.
func (b *bridge) subscriptions(post func(any) error) []mqttclient.Subscription {
	var all []mqttclient.Subscription
	b.inbox.asked = map[string]bool{}
	for i := range b.routes.in {
		r := &b.routes.in[i]
		s := b.subscription(r.RemoteFilter(), byte(r.Qos), post)
		s.Kept = !r.NewOnly
		all = append(all, s)
	}
	for _, filter := range b.cfg.Discover {
		all = append(all, b.subscription(filter, 0, post))
	}
	for _, filter := range b.inbox.subscriptions.Filters() {
		if !b.covered(filter) {
			b.inbox.asked[filter] = true
			all = append(all, b.subscription(filter, 1, post))
		}
	}
	return all
}

func (b *bridge) subscription(filter string, qos byte, post func(any) error) mqttclient.Subscription {
	return mqttclient.Subscription{
		Filter: filter, QoS: qos, Kept: true, NoLocal: true,
		// Excess messages are shed and counted.
		OnMessage: func(m mqttclient.Message) { _ = post(arrived{m}) },
	}
}

// covered reports whether messages matching the filter arrive anyway.
func (b *bridge) covered(filter string) bool {
	for i := range b.routes.in {
		if mqttbridge.Covered(filter, b.routes.in[i].RemoteFilter()) {
			return true
		}
	}
	return slices.ContainsFunc(b.cfg.Discover, func(d string) bool { return mqttbridge.Covered(filter, d) })
}

// subscribe subscribes to filters that actors have asked for since the connection was made.
func (b *bridge) subscribe(c *actors.Context) {
	if b.link.client == nil || b.inbox.busy || b.inbox.asked == nil {
		return
	}
	var more []mqttclient.Subscription
	for _, filter := range b.inbox.subscriptions.Filters() {
		if !b.inbox.asked[filter] && !b.covered(filter) {
			b.inbox.asked[filter] = true
			more = append(more, b.subscription(filter, 1, c.Post()))
		}
	}
	if len(more) == 0 {
		return
	}
	b.inbox.busy = true
	client, log := b.link.client, c.Log()
	c.Do(dialTime, func(ctx context.Context) (any, error) {
		if err := client.Subscribe(ctx, more...); err != nil {
			log.Warn("not subscribed", "err", err)
			_ = client.Close() // the next connection subscribes to all of it again
		}
		return subscribed{}, nil
	})
}

// arrive passes a message from outside to our own broker, to the actors that subscribe to its
// topic, or to the list of unclaimed topics.
func (b *bridge) arrive(c *actors.Context, m mqttclient.Message) {
	b.meter.received()
	if mqttbridge.Passed(m.User, b.name) {
		b.meter.looped++
		return
	}
	if len(m.Payload) > int(b.cfg.MaxPayload) {
		b.meter.refused++
		return
	}
	taken := false
	for i := range b.routes.in {
		r := &b.routes.in[i]
		if topic, ok := r.ToLocal(m.Topic); ok {
			taken = true
			c.Ask(b.cfg.Broker, &mqtt.PublishRequest{Path: c.Name(), Topic: topic, Payload: m.Payload, Retain: r.Retain, Expiry: m.Expiry, User: b.passing(m.User)}, brokerTime)
			break
		}
	}
	paths := b.inbox.subscriptions.Paths(m.Topic)
	for _, path := range paths {
		c.Tell(path, &mqtt.Delivery{Topic: m.Topic, Payload: m.Payload, Retained: m.Retain, Expiry: m.Expiry})
	}
	if len(paths) > 0 && len(m.Payload) <= heldBytes {
		if _, known := b.inbox.last[m.Topic]; known || len(b.inbox.last) < heldTopics {
			if b.inbox.last == nil {
				b.inbox.last = map[string][]byte{}
			}
			b.inbox.last[m.Topic] = m.Payload
		}
	}
	if !taken && len(paths) == 0 {
		b.inbox.unclaimed.Add(mqtt.UnclaimedTopic{Topic: m.Topic, Payload: m.Payload, Time: time.Now()})
	}
}

// passing returns the user properties with this bridge added to the ones passed.
func (b *bridge) passing(user [][2]string) []mqtt.UserProperty {
	var all []mqtt.UserProperty
	for _, u := range user {
		all = append(all, mqtt.UserProperty{Key: u[0], Value: u[1]})
	}
	return append(all, mqtt.UserProperty{Key: mqttbridge.Via, Value: b.name})
}

// listen subscribes at our own broker to the client topics that go out.
func (b *bridge) listen(c *actors.Context) {
	c.Ask(b.cfg.Broker, &mqtt.SubscribeRequest{Path: c.Name(), Filters: b.routes.foreign()}, brokerTime)
}

// deafen notes that our own broker cannot be heard, and schedules another attempt.
func (b *bridge) deafen(c *actors.Context, why string) {
	b.inbox.deaf = why
	b.judge(c)
	c.After(time.Second, listen{})
}

// subscribeActor handles an actor's subscription to outside topics, or the answer of our own
// broker.
func (b *bridge) subscribeActor(c *actors.Context, m *mqtt.SubscribeRequest) {
	if m.Path == c.Name() {
		b.inbox.deaf = ""
		b.judge(c)
		return
	}
	if b.link.client == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "not connected: %s", b.link.cause))
		return
	}
	answer := *m
	answer.Fresh = !b.inbox.subscriptions.Has(m.Path)
	if _, err := b.inbox.subscriptions.Update(m, time.Now()); err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	c.Reply(&answer)
	if m.Retained || answer.Fresh {
		for topic, payload := range b.inbox.last {
			if slices.ContainsFunc(m.Filters, func(f string) bool { return mqtt.Covers(f, topic) }) {
				c.Tell(m.Path, &mqtt.Delivery{Topic: topic, Payload: payload, Retained: true})
			}
		}
	}
	b.subscribe(c)
}

// delivered handles a message that a client has published at our own broker.
func (b *bridge) delivered(c *actors.Context, m *mqtt.Delivery) {
	if m.Retained {
		return // it was sent when it was published, or is not to be sent
	}
	var user [][2]string
	for _, u := range m.User {
		user = append(user, [2]string{u.Key, u.Value})
	}
	if mqttbridge.Passed(user, b.name) {
		b.meter.looped++
		return
	}
	for i := range b.routes.out {
		r := &b.routes.out[i]
		if topic, ok := r.ToRemote(m.Topic); ok && !r.ours() {
			b.leave(c, r, b.enqueue(r, topic, m.Payload, m.Expiry, user))
			return
		}
	}
}

// deliver handles a message that the gateway publishes.
func (b *bridge) deliver(c *actors.Context, m actors.Delivery) {
	for i := range b.routes.out {
		r := &b.routes.out[i]
		if topic, ok := r.ToRemote(m.Topic); ok && r.ours() {
			l := b.enqueue(r, topic, m.Payload, 0, nil)
			l.ContentType = m.ContentType
			b.leave(c, r, l)
			return
		}
	}
}

// publish publishes at the outside broker for an actor.
func (b *bridge) publish(c *actors.Context, m *mqtt.PublishRequest) {
	if c.Request() == nil || m.Path == c.Name() { // the answer of our own broker
		return
	}
	if b.link.client == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "not connected: %s", b.link.cause))
		return
	}
	r, post := c.Take(), c.Post()
	k := mqttclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: 1, Retain: m.Retain, Expiry: m.Expiry}
	err := b.link.client.Post(k, func(err error) {
		if err != nil {
			_ = post(unpublished{r, err})
			return
		}
		_ = post(published{r, m})
	})
	if err != nil {
		r.Refuse(actors.Errorf(actors.Unavailable, "%s", err))
	}
}

// unclaimed lists the topics that no actor subscribes to.
func (b *bridge) unclaimed(c *actors.Context, m *mqttv1.ListUnclaimedRequest) {
	c.Reply(mqttdoor.Unclaimed(b.inbox.unclaimed.List(m.Filter, func(topic string) bool { return !b.inbox.subscriptions.Any(topic) })))
}
