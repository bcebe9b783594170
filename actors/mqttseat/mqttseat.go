// Package mqttseat finds connections to outside MQTT brokers that take each other's place:
// a broker lets in one client of each id, and ends the connection of the one before.
package mqttseat

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

// client is how an actor comes to brokers.
type client struct {
	brokers  []string
	id       string // empty: that of mqttclient.IDOf
	username string
	field    string // of the id
}

// had is a client at one of its brokers.
type had struct {
	client
	path, host, broker string
}

// Twice finds actors of that kind that come to a broker with the client id of another
// one before them, of whatever kind. What may be so but need not is a warning: ports of one host may
// be one broker, and what the default id of another one is depends on the gateway's name.
func Twice(kind string, all []schemas.Actor) (found []schemas.Finding) {
	var before []had
	for _, a := range all {
		c, from := clientOf(a), len(before)
		best := schemas.Finding{}
		for _, url := range c.brokers {
			_, broker, _ := strings.Cut(strings.ToLower(url), "://")
			broker, _, _ = strings.Cut(broker, "/")
			h := had{c, a.Path, host(broker), broker}
			for _, other := range before[:from] {
				v, ok := h.beside(other)
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

// beside says what is wrong with a client beside one before it, if anything is.
func (h had) beside(other had) (v schemas.Violation, ok bool) {
	if h.host != other.host {
		return v, false
	}
	v = schemas.Violation{Field: h.field, Other: other.field, Warning: h.username != other.username} // some brokers tell clients by both
	id, same := h.shown(), h.shown() == other.shown()
	gateway := cmp.Or(h.takes(other), other.takes(h))
	switch {
	case !same && gateway != "":
		v.Warning = true
		v.Message = fmt.Sprintf("if the gateway is called %s, %q comes to %s with the client id %q as well, and a broker lets in only one: give each its own",
			gateway, other.path, h.broker, cmp.Or(h.id, other.id))
	case !same:
		return v, false
	case h.broker != other.broker:
		v.Warning = true
		v.Message = fmt.Sprintf("%q comes to %s with the client id %q as well: if that is the same broker as %s it lets in only one: give each its own",
			other.path, other.broker, id, h.broker)
	default:
		v.Message = fmt.Sprintf("%q comes to %s with the client id %q as well, and a broker lets in only one: give each its own", other.path, h.broker, id)
	}
	return v, true
}

const idPrefix = "gatewayd-"

// shown is the client id, as far as it is known here.
func (h had) shown() string {
	if h.id == "" {
		return idPrefix + "<gateway>-" + path.Base(h.path)
	}
	return h.id
}

// takes is how the gateway would be called where the id of h is that of the other one, which names none; empty: nowhere.
func (h had) takes(other had) string {
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
