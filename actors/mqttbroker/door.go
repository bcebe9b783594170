package mqttbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
)

// What is here runs in the goroutines of the clients: it asks and posts.

// settleTime is how long a client waits for its session at most. It is long, since a crowd that comes at once is let in one
// after the other: after a power cut everybody comes.
const settleTime = time.Minute

// open has the broker bring up a session for a client. Our own canary needs none.
func (b *broker) open(c *actors.Context) func(mqtt.ClientInfo) (any, error) {
	gate, guard := c.Gate(), b.gate
	return func(ci mqtt.ClientInfo) (any, error) {
		if ci.Username == canaryName && guard.isCanary(ci) {
			return nil, nil
		}
		ci.Password = nil
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		return gate.Ask(ctx, &arrival{&ci})
	}
}

// seat is what the goroutine of a client knows of its session.
type seat struct {
	session *actors.Child
	calls   *mqtt.Calls
}

// take hands on what a client has published.
func (b *broker) take(c *actors.Context) func(mqtt.ClientInfo, mqtt.Publish) error {
	gate, h := c.Gate(), b.house
	return func(ci mqtt.ClientInfo, p mqtt.Publish) error {
		at, ok := ci.Session.(*seat)
		if !ok {
			return errors.New("this client has no session")
		}
		if strings.HasPrefix(p.Topic, cancelClass) {
			at.giveUp(p)
			return nil
		}
		if !strings.HasPrefix(p.Topic, "cmd/") {
			return at.session.Post(&mqtt.Incoming{Client: ci, Publish: p})
		}
		m := parse(ci, p)
		if topic := mqtt.ReplyTopic(ci, m.reply); !mqtt.DefaultAuthorize(ci, topic, true) {
			return fmt.Errorf("response topic %q: answers go to reply/%s/…", topic, ci.ID)
		}
		return h.call(gate, at, m)
	}
}

// hear passes on what happens to a session.
func (b *broker) hear(c *actors.Context) func(mqtt.SessionEvent) {
	post, rate, size := c.Post(), b.cfg.Rate, b.cfg.ByteRate
	return func(e mqtt.SessionEvent) {
		at, _ := e.Client.Session.(*seat)
		switch e.Kind { // what is lost is found by reconcile, or said again
		case mqtt.SessionDisconnected:
			_ = post(departure{&e.Client, e.Kept})
		case mqtt.SessionExpired:
			_ = post(departure{&e.Client, false})
		}
		if at == nil {
			return
		}
		switch e.Kind {
		case mqtt.SessionThrottled:
			_ = at.session.Post(strain{fmt.Sprintf("sends more than rate = %d packets/s or byte-rate = %d B/s", rate, size)})
		case mqtt.SessionDropped:
			_ = at.session.Post(strain{"reads too slowly: messages for it are lost"})
		}
	}
}
