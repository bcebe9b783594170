// Package uplinkmqtt is the actor kind that sends records as messages to any MQTT broker and
// receives commands from there.
package uplinkmqtt

import (
	"fmt"
	"net/url"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttsend"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-mqtt.
var Kind = uplink.Define(actors.Kind{
	Name:   "uplink-mqtt",
	Doc:    "Sends tracks to any MQTT broker, 3.1.1 or 5, in the form that the cloud requires, and accepts commands from there.",
	Beside: func(all []schemas.Actor) []schemas.Finding { return mqttclientid.Duplicates("uplink-mqtt", all) },
}, reach)

func reach(who uplink.Instance, cfg *uplinkv1.UplinkMqtt) (uplink.Far, error) {
	u, err := url.Parse(cfg.Url)
	if err != nil {
		return uplink.Far{}, err
	}
	to := mqttsend.Config{
		Client: clientOf(who, cfg), QoS: byte(max(cfg.Qos, 1)), Retain: cfg.Retain, Compress: cfg.Compress,
	}
	to.Who = shape.Origin{Gateway: who.Gateway, Uplink: who.Path, Client: to.Client.ClientID}
	if to.Form, err = uplink.Form(cfg.Shape, cfg.Custom, nil); err != nil {
		return uplink.Far{}, err
	}
	if cfg.Topic != "" {
		to.Form.Topic = cfg.Topic
	}
	place := func(at *string, key, text string) {
		if err == nil {
			if *at, err = shape.Topic(text, to.Who); err != nil {
				err = fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	place(&to.Ack, "ack-topic", cfg.AckTopic)
	place(&to.Presence, "presence-topic", cfg.PresenceTopic)
	if len(cfg.GetCommands().GetAllow()) > 0 {
		place(&to.Commands, "command-topic", cfg.CommandTopic)
		place(&to.Answers, "answer-topic", cfg.AnswerTopic)
	}
	if err != nil {
		return uplink.Far{}, err
	}
	return uplink.Far{Where: u.Scheme + "://" + u.Host, Dial: to.Dial}, to.Check()
}

func clientOf(who uplink.Instance, cfg *uplinkv1.UplinkMqtt) mqttclient.Config {
	c := mqttclient.Config{
		URL: cfg.Url, Version: 4, ClientID: cfg.GetLogin().GetClientId(), Username: cfg.GetLogin().GetUsername(), Password: cfg.GetLogin().GetPassword(),
		KeepAlive: cfg.KeepAlive.AsDuration(), TLS: tlsfiles.ClientOf(cfg.GetTls()),
	}
	if cfg.Version == "5" {
		c.Version = 5
	}
	if c.ClientID == "" {
		c.ClientID = mqttclient.IDOf(who.Gateway, who.Path)
	}
	return c
}
