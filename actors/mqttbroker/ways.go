package mqttbroker

import (
	"errors"
	"fmt"
	"path/filepath"

	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/mqtt"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// doors returns the listeners besides the first.
func doors(cfg *mqttv1.Broker) (all []mqtt.Door) {
	for _, d := range cfg.Doors {
		all = append(all, mqtt.Door{Listen: d.Listen, Socket: d.Socket, WebSocket: d.Websocket, Plain: d.Plain, Origins: d.Origins})
	}
	return all
}

func checkDoors(all []*mqttv1.BrokerDoor) error {
	for _, d := range all {
		switch {
		case (d.Listen == "") == (d.Socket == ""):
			return errors.New("set either listen or socket")
		case d.Socket != "" && !filepath.IsAbs(d.Socket):
			return fmt.Errorf("socket = %q is not an absolute path", d.Socket)
		case len(d.Origins) > 0 && !d.Websocket:
			return errors.New("origins needs websocket = true")
		}
	}
	return nil
}

// exposed returns a listener that other machines can reach and what protection it lacks. Both are
// empty if there is none or nothing is lacking.
func exposed(cfg *mqttv1.Broker) (at, lack string) {
	all := append([]*mqttv1.BrokerDoor{{Listen: cfg.Listen}}, cfg.Doors...)
	for _, d := range all {
		if d.Socket != "" || !schemas.Exposed(d.Listen) {
			continue
		}
		if lack := accessdoor.Lack(cfg.Tls != nil && !d.Plain, cfg.Access != ""); lack != "" {
			return d.Listen, lack
		}
	}
	return "", ""
}
