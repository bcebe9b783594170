// Package uplinktr50 is the actor kind that sends records to a server of the TR50 protocol.
package uplinktr50

import (
	"strings"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/tr50"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-tr50.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-tr50",
	Doc:  "Sends tracks to a TR50 server (deviceWISE, Device Cloud), and carries out methods from its mailbox.",
	Beside: func(all []schemas.Actor) []schemas.Finding {
		return append(mqttclientid.Duplicates("uplink-tr50", all), uplink.Named(all, placeOf)...)
	},
}, reach)

// placeOf returns the field names that make up a location, by config key.
func placeOf(cfg *uplinkv1.UplinkTr50) map[string]string {
	p := cfg.GetPlace()
	return map[string]string{
		"place.latitude": p.GetLatitude(), "place.longitude": p.GetLongitude(), "place.altitude": p.GetAltitude(),
		"place.speed": p.GetSpeed(), "place.heading": p.GetHeading(), "place.accuracy": p.GetAccuracy(),
	}
}

func reach(who uplink.Instance, cfg *uplinkv1.UplinkTr50) (uplink.Far, error) {
	if err := tr50.CheckKey(cfg.Key); err != nil {
		return uplink.Far{}, err
	}
	to := tr50.Config{
		Broker: mqttclient.Config{
			URL: cfg.Url, ClientID: cfg.AppId, Username: cfg.ThingKey, Password: cfg.Token, KeepAlive: cfg.KeepAlive.AsDuration(),
			TLS: tlsfiles.ClientOf(cfg.GetTls()),
		},
		Form:    tr50.Form{Key: cfg.Key, Alarms: cfg.Alarms, Logs: cfg.Logs},
		Methods: map[string]string{},
		Every:   cfg.MailboxEvery.AsDuration(),
	}
	if to.Broker.ClientID == "" {
		to.Broker.ClientID = mqttclient.IDOf(who.Gateway, who.Path)
	}
	if p := cfg.Place; p != nil {
		to.Form.Place = tr50.Place{
			Latitude: p.Latitude, Longitude: p.Longitude, Altitude: p.Altitude, Speed: p.Speed, Heading: p.Heading, Accuracy: p.Accuracy,
		}
	}
	for _, m := range cfg.Methods {
		to.Methods[m.Name] = strings.TrimPrefix(m.Call, "cmd/")
	}
	return uplink.Far{Where: cfg.Url + " " + cfg.ThingKey, Dial: tr50.NewSession(to).Dial, Carries: to.Form.Carries}, nil
}
