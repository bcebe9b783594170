package mqttbroker

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// gate decides which clients may connect and what they may use. Client goroutines call it.
type gate struct {
	*accessdoor.Door
	canary string // password of the canary
}

// authenticate returns the identity of a client.
func (g gate) authenticate(ci mqtt.ClientInfo) (*access.Identity, error) {
	if !g.Guarded() || g.isCanary(ci) {
		return mqtt.AllowAnyone(ci)
	}
	shown := access.Presented{Name: ci.Username, Password: ci.Password, Remote: ci.Remote}
	if ci.TLS != nil && len(ci.TLS.VerifiedChains) > 0 {
		shown.Certificate = ci.TLS.PeerCertificates[0]
	}
	id, err := g.Authenticate(shown)
	if err == nil && !ci.Assigned && !id.Owns(ci.ID) {
		err = fmt.Errorf("client id %q is not one of %s", ci.ID, id.Name)
	}
	return id, err
}

func (g gate) isCanary(ci mqtt.ClientInfo) bool {
	return ci.Username == canaryName && subtle.ConstantTimeCompare(ci.Password, []byte(g.canary)) == 1
}

// authorize reports whether a client may publish on a topic or subscribe to a filter.
func (g gate) authorize(ci mqtt.ClientInfo, topic string, write bool) bool {
	class, _, _ := strings.Cut(topic, "/")
	switch {
	case ci.Identity == nil || class == "reply":
		return mqtt.DefaultAuthorize(ci, topic, write)
	case class == "cmd" && write:
		topic = method(topic)
	}
	return g.May(ci.Identity, topic)
}

// sweep ends the sessions whose clients may no longer connect.
func (b *broker) sweep(c *actors.Context) {
	if b.server == nil || !b.gate.Guarded() {
		return
	}
	cut, now := map[string]*mqttv1.Cut{}, time.Now()
	b.server.Disconnect(func(ci mqtt.ClientInfo) bool {
		err := b.gone(ci, now)
		if err == nil {
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
		c.Log().Warn("sessions ended", "identity", m.Identity, "clients", len(m.Clients), "cause", m.Cause)
		c.Event("cut", m)
	}
}

// gone returns why a client is to be disconnected. For a stored session only the identity is known,
// not its credentials.
func (b *broker) gone(ci mqtt.ClientInfo, now time.Time) error {
	switch {
	case !ci.Restored:
		return b.gate.Gone(ci.Identity, now)
	case b.gate.Ready() && b.gate.Out(ci.Identity):
		return fmt.Errorf("%s may no longer connect", ci.Identity.Name)
	}
	return nil
}

func newGate(cfg *mqttv1.Broker) gate { return gate{accessdoor.New(cfg.Access), rand.Text()} }
