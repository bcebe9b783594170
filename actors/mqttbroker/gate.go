package mqttbroker

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	wishTime  = time.Hour   // after which a wish is made anew
	wishAgain = time.Second // after one that failed
	sweepTime = time.Second // for those who came in while the policy changed
)

type (
	wish  struct{} // ask for the policy
	sweep struct{}
)

// gate decides who comes in and what he may use. Goroutines of clients ask it.
type gate struct {
	door   *access.Door // nil: everybody may everything
	canary string       // password of our own canary
}

func newGate(cfg *mqttv1.Broker) gate {
	g := gate{canary: rand.Text()}
	if cfg.Access != "" {
		g.door = access.NewDoor()
	}
	return g
}

// authenticate says who a client is.
func (g gate) authenticate(ci mqtt.ClientInfo) (*access.Identity, error) {
	if g.door == nil || g.isCanary(ci) {
		return mqtt.AllowAnyone(ci)
	}
	shown := access.Shown{Name: ci.Username, Password: ci.Password}
	if ci.TLS != nil && len(ci.TLS.VerifiedChains) > 0 {
		shown.Certificate = ci.TLS.PeerCertificates[0]
	}
	id, err := g.door.Enter(shown, time.Now())
	if err == nil && !ci.Assigned && !id.Owns(ci.ID) {
		err = fmt.Errorf("client id %q is not one of %s", ci.ID, id.Name)
	}
	return id, err
}

func (g gate) isCanary(ci mqtt.ClientInfo) bool {
	return ci.Username == canaryName && subtle.ConstantTimeCompare(ci.Password, []byte(g.canary)) == 1
}

// authorize says whether a client may publish on a topic or hear a filter.
func (g gate) authorize(ci mqtt.ClientInfo, topic string, write bool) bool {
	class, _, _ := strings.Cut(topic, "/")
	if ci.Identity == nil || class == "reply" {
		return mqtt.DefaultAuthorize(ci, topic, write)
	}
	id := g.door.Now(ci.Identity, time.Now())
	switch {
	case id == nil:
		return false
	case class == "cmd" && write:
		return id.May(method(topic))
	case strings.ContainsAny(topic, "+#"):
		return id.Hears(topic)
	}
	return id.May(topic)
}

// gone tells whether a client has been cut off since it sent something.
func (g gate) gone(ci mqtt.ClientInfo) bool {
	return ci.Identity != nil && g.door.Now(ci.Identity, time.Now()) == nil
}

// wish asks for the policy that is to come after the one in force.
func (b *broker) wish(c *actors.Context) {
	if b.gate.door != nil {
		c.Ask(b.cfg.Access, &access.Wish{Have: b.policy}, wishTime)
	}
}

// unfulfilled keeps the policy in force, and goes on asking.
func (b *broker) unfulfilled(c *actors.Context, err error) {
	if b.policy == nil {
		c.Degraded("nobody can come in: " + err.Error())
	}
	c.After(wishAgain, wish{})
}

// obey puts a policy in force: who may no longer be in is cut off.
func (b *broker) obey(c *actors.Context, p *access.Policy) {
	b.policy = p
	b.gate.door.Set(p)
	b.sweep(c)
	c.After(sweepTime, sweep{})
	b.wish(c)
}

// sweep ends the sessions of those who may no longer be in.
func (b *broker) sweep(c *actors.Context) {
	if b.gate.door == nil || b.server == nil {
		return
	}
	cut, now := map[string]*mqttv1.Cut{}, time.Now()
	b.server.Disconnect(func(ci mqtt.ClientInfo) bool {
		if ci.Identity == nil {
			return false
		}
		_, err := b.gate.door.Still(ci.Identity, now)
		if err == nil || errors.Is(err, access.ErrClosed) {
			return false
		}
		m := cut[ci.Identity.Name]
		if m == nil {
			m = &mqttv1.Cut{Identity: ci.Identity.Name, Cause: err.Error()}
			cut[ci.Identity.Name] = m
		}
		m.Clients = append(m.Clients, ci.ID)
		return true
	})
	for _, m := range cut {
		c.Log().Warn("sessions cut", "identity", m.Identity, "clients", len(m.Clients), "cause", m.Cause)
		c.Event("cut", m)
	}
}

// exposed says what a listener outside loopback lacks; empty: nothing.
func exposed(cfg *mqttv1.Broker) string {
	switch {
	case !schemas.Exposed(cfg.Listen) || cfg.Tls != nil && cfg.Access != "":
		return ""
	case cfg.Tls == nil && cfg.Access == "":
		return "clients are neither encrypted nor authenticated"
	case cfg.Tls == nil:
		return "clients are not encrypted"
	}
	return "clients are not authenticated"
}
