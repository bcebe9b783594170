// Package mqttbroker is the actor that shows the bus to MQTT clients: readings,
// events and states go out as they are, calls come in. Sockets, sessions and
// whatever a bad client does are package protocols/mqtt's business.
package mqttbroker

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// Kind is kind "mqtt-broker".
var Kind = actors.Define(actors.Kind{
	Name:  "mqtt-broker",
	Doc:   "shows the bus to MQTT clients and takes their calls",
	Limit: 4096,
	Power: func(proto.Message) *actors.Power { return &actors.Power{} }, // listener down and up
}, func(cfg *mqttv1.Broker) actors.Actor { return &broker{cfg: cfg} })

type broker struct{ cfg *mqttv1.Broker }

func (b *broker) Receive(c *actors.Context, msg any) error { return nil }
