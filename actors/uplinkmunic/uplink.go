// Package uplinkmunic is the actor kind that sends records to a platform as events in the shapes of
// Munic's public cloud API.
package uplinkmunic

import (
	"strings"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/munic"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-munic.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-munic",
	Doc:  "Sends tracks by MQTT as events in the shapes of Munic's public cloud API.",
	Beside: func(all []schemas.Actor) []schemas.Finding {
		return append(mqttclientid.Duplicates("uplink-munic", all), uplink.Named(all, func(cfg *uplinkv1.UplinkMunic) map[string]string {
			return map[string]string{"latitude": cfg.Latitude, "longitude": cfg.Longitude}
		})...)
	},
}, reach)

func reach(who uplink.Instance, cfg *uplinkv1.UplinkMunic) (uplink.Far, error) {
	to := munic.Config{
		Broker: mqttclient.Config{
			URL: cfg.Url, ClientID: cfg.GetLogin().GetClientId(), Username: cfg.GetLogin().GetUsername(), Password: cfg.GetLogin().GetPassword(),
			KeepAlive: cfg.KeepAlive.AsDuration(), TLS: tlsfiles.ClientOf(cfg.GetTls()),
		},
		Form:     munic.Form{Account: cfg.Account, Asset: cfg.Asset, Latitude: cfg.Latitude, Longitude: cfg.Longitude, Collection: cfg.Collection},
		Platform: cfg.Ack == "platform",
		Channels: map[string]string{},
	}
	if to.Broker.ClientID == "" {
		to.Broker.ClientID = mqttclient.IDOf(who.Gateway, who.Path)
	}
	for _, c := range cfg.Channels {
		to.Channels[c.Name] = strings.TrimPrefix(c.Call, "cmd/")
	}
	return uplink.Far{Where: cfg.Url + " " + cfg.Account + "/" + cfg.Asset, Dial: munic.NewSession(to).Dial}, nil
}
