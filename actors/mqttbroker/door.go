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

// take hands what a client has published to its session.
func take(ci mqtt.ClientInfo, p mqtt.Publish) error {
	session, ok := ci.Session.(*actors.Child)
	if !ok {
		return errors.New("this client has no session")
	}
	if strings.HasPrefix(p.Topic, cancelClass) {
		return session.Post(giveUp{p})
	}
	if !strings.HasPrefix(p.Topic, "cmd/") {
		return session.Post(&mqtt.Incoming{Client: ci, Publish: p})
	}
	m := parse(ci, p)
	if topic := mqtt.ReplyTopic(ci, m.reply); !mqtt.DefaultAuthorize(ci, topic, true) {
		return fmt.Errorf("response topic %q: answers go to reply/%s/…", topic, ci.ID)
	}
	return session.Post(m)
}

// hear passes on what happens to a session.
func (b *broker) hear(c *actors.Context) func(mqtt.SessionEvent) {
	post, rate, size := c.Post(), b.cfg.Rate, b.cfg.ByteRate
	return func(e mqtt.SessionEvent) {
		session, _ := e.Client.Session.(*actors.Child)
		switch e.Kind { // what is lost is found by reconcile, or said again
		case mqtt.SessionDisconnected:
			_ = post(departure{&e.Client, e.Kept})
		case mqtt.SessionExpired:
			_ = post(departure{&e.Client, false})
		}
		if session == nil {
			return
		}
		switch e.Kind {
		case mqtt.SessionThrottled:
			_ = session.Post(strain{fmt.Sprintf("sends more than rate = %d packets/s or byte-rate = %d B/s", rate, size)})
		case mqtt.SessionDropped:
			_ = session.Post(strain{"reads too slowly: messages for it are lost"})
		}
	}
}
