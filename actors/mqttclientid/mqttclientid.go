// Package mqttclientid finds actors whose connections to an outside MQTT broker would displace each
// other: a broker accepts one client per client id and closes the earlier connection.
package mqttclientid

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"strings"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// client is how an actor identifies itself at brokers.
type client struct {
	brokers  []string
	id       string // empty: the default, mqttclient.IDOf
	username string
	field    string // config key of the id
}

// login is a client at one of its brokers.
type login struct {
	client
	path, host, broker string
}

// Duplicates finds actors of the given kind that use the same broker and client id as an actor before
// them, of any kind. If a conflict is only possible, it is a warning: several ports of one host may
// be the same broker, and the default id of another actor depends on the gateway's name.
func Duplicates(kind string, all []schemas.Actor) (found []schemas.Finding) {
	var before []login
	for _, a := range all {
		c, from := clientOf(a), len(before)
		best := schemas.Finding{}
		for _, url := range c.brokers {
			_, broker, _ := strings.Cut(strings.ToLower(url), "://")
			broker, _, _ = strings.Cut(broker, "/")
			h := login{c, a.Path, host(broker), broker}
			for _, other := range before[:from] {
				v, ok := h.clash(other)
				if ok && (best.Actor == "" || best.Warning && !v.Warning) {
					best = schemas.Finding{Actor: a.Path, Beside: other.path, Violation: v}
				}
			}
			before = append(before, h)
		}
		if best.Actor != "" && a.Kind == kind {
			found = append(found, best)
		}
	}
	return found
}

// clash returns the conflict between a client and one before it, if there is any.
func (h login) clash(other login) (v schemas.Violation, ok bool) {
	if h.host != other.host {
		return v, false
	}
	// Some brokers distinguish clients by both.
	v = schemas.Violation{Field: h.field, Other: other.field, Warning: h.username != other.username}
	id, same := h.shown(), h.shown() == other.shown()
	gateway := cmp.Or(h.gatewayFor(other), other.gatewayFor(h))
	switch {
	case !same && gateway != "":
		v.Warning = true
		v.Message = fmt.Sprintf("if the gateway has the name %s, %q uses the client id %q at %s as well, but a broker admits a client id only once: give each its own",
			gateway, other.path, cmp.Or(h.id, other.id), h.broker)
	case !same:
		return v, false
	case h.broker != other.broker:
		v.Warning = true
		v.Message = fmt.Sprintf("%q uses the client id %q at %s as well: if that is the same broker as %s, it admits only one of them: give each its own",
			other.path, id, other.broker, h.broker)
	default:
		v.Message = fmt.Sprintf("%q uses the client id %q at %s as well, but a broker admits a client id only once: give each its own", other.path, id, h.broker)
	}
	return v, true
}

const idPrefix = "gatewayd-"

// shown returns the client id, as far as it is known.
func (h login) shown() string {
	if h.id == "" {
		return idPrefix + "<gateway>-" + path.Base(h.path)
	}
	return h.id
}

// gatewayFor returns the gateway name with which the default id of other would equal the id of h; empty:
// there is none.
func (h login) gatewayFor(other login) string {
	gateway, ok := strings.CutSuffix(strings.TrimPrefix(h.id, idPrefix), "-"+path.Base(other.path))
	if other.id != "" || !ok || !strings.HasPrefix(h.id, idPrefix) {
		return ""
	}
	return gateway
}

func host(broker string) string {
	if name, _, err := net.SplitHostPort(broker); err == nil {
		return name
	}
	return broker
}

func clientOf(a schemas.Actor) client {
	of := func(urls []string, l *mqttv1.Login) client {
		return client{urls, l.GetClientId(), l.GetUsername(), "login.client-id"}
	}
	switch cfg := a.Config.(type) {
	case *mqttv1.Bridge:
		return of([]string{cfg.Url}, cfg.Login)
	case *modbusv1.ModbusMqtt:
		if cfg.Url != "" {
			return of([]string{cfg.Url}, cfg.Login)
		}
	case *uplinkv1.UplinkMqtt:
		return of([]string{cfg.Url}, cfg.Login)
	case *uplinkv1.UplinkMunic:
		return of([]string{cfg.Url}, cfg.Login)
	case *uplinkv1.UplinkSparkplug:
		return of(cfg.Servers, cfg.Login)
	case *uplinkv1.UplinkTr50:
		return client{[]string{cfg.Url}, cfg.AppId, cfg.ThingKey, "app-id"}
	}
	return client{}
}
