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

// The functions in this file run in client goroutines: they only ask and post.

// settleTime is how long a client waits for its session at most. It is long because sessions are
// created one after the other, and after a power cut all clients connect at once.
const settleTime = time.Minute

// open creates the session of a client. The canary needs none.
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

// clientSession is what a client goroutine knows about its session.
type clientSession struct {
	session *actors.Child
	calls   *mqtt.Calls
}

// take handles what a client publishes.
func (b *broker) take(c *actors.Context) func(mqtt.ClientInfo, mqtt.Publish) error {
	gate, h := c.Gate(), b.shared
	return func(ci mqtt.ClientInfo, p mqtt.Publish) error {
		at, ok := ci.Session.(*clientSession)
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
			return fmt.Errorf("response topic %q: must be below reply/%s/", topic, ci.ID)
		}
		return h.call(gate, at, m)
	}
}

// forbid answers a call that its client may not make. It returns false if there is nobody to answer.
func (h *shared) forbid(ci mqtt.ClientInfo, p mqtt.Publish) bool {
	if !strings.HasPrefix(p.Topic, "cmd/") || h.server == nil || h.gate.Guarded() && h.gate.Out(ci.Identity) {
		return false
	}
	m := parse(ci, p)
	if !mqtt.DefaultAuthorize(ci, mqtt.ReplyTopic(ci, m.reply), true) {
		return false
	}
	name := m.caller().Identity
	if ci.Identity != nil {
		name = ci.Identity.Name // as the other listeners say it
	}
	err := actors.Errorf(actors.PermissionDenied, "%s may not use %s", name, m.topic)
	if !h.cfg.Commands {
		err = actors.Errorf(actors.PermissionDenied, "this broker accepts no calls: commands = false")
	}
	h.fail(m, err)
	return true
}

// sessionEvent forwards session events to the actor.
func (b *broker) sessionEvent(c *actors.Context) func(mqtt.SessionEvent) {
	post, rate, size := c.Post(), b.cfg.Rate, b.cfg.ByteRate
	return func(e mqtt.SessionEvent) {
		at, _ := e.Client.Session.(*clientSession)
		switch e.Kind { // if an event is lost, reconcile finds out, or the event comes again
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
			_ = at.session.Post(strain{fmt.Sprintf("exceeds rate = %d packets/s or byte-rate = %d B/s", rate, size)})
		case mqtt.SessionDropped:
			_ = at.session.Post(strain{"reads too slowly: messages for it are lost"})
		}
	}
}
