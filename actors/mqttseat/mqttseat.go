// Package mqttseat finds connections to outside MQTT brokers that take each other's place:
// a broker lets in one client of each id, and ends the connection of the one before.
package mqttseat

import (
	"fmt"
	"path"
	"strings"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// seat is what a client has at a broker.
type seat struct{ broker, id string }

// client is how an actor comes to brokers.
type client struct {
	brokers  []string
	id       string // empty: that of mqttclient.IDOf
	username string
	field    string // of the id
}

// Twice finds actors of that kind that come to a broker with the client id of another
// one before them, of whatever kind.
func Twice(kind string, all []schemas.Actor) (found []schemas.Finding) {
	type had struct {
		client
		path string
	}
	first := map[seat]had{}
	for _, a := range all {
		c := clientOf(a)
		id := c.id
		if id == "" {
			id = "gatewayd-<gateway>-" + path.Base(a.Path)
		}
		told := false
		for _, url := range c.brokers {
			_, broker, _ := strings.Cut(strings.ToLower(url), "://")
			at := seat{broker, id}
			other, taken := first[at]
			switch {
			case !taken:
				first[at] = had{c, a.Path}
			case other.path != a.Path && a.Kind == kind && !told:
				told = true
				found = append(found, schemas.Finding{Actor: a.Path, Beside: other.path, Violation: schemas.Violation{
					Field: c.field, Other: other.field, Warning: c.username != other.username, // some brokers tell clients by both
					Message: fmt.Sprintf("%q comes to %s with the client id %q as well, and a broker lets in only one: give each its own", other.path, broker, id),
				}})
			}
		}
	}
	return found
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
