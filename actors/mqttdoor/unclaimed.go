// Package mqttdoor is what the kinds that receive messages of MQTT clients have in common. It is no
// kind itself.
package mqttdoor

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/sensor"
	"gatewayd/protocols/sensor/profiles"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// Service returns the service TopicService, which these kinds implement.
func Service() protoreflect.ServiceDescriptor {
	return actors.Service(mqttv1.File_mqtt_v1_device_proto, "TopicService")
}

// maxShown is how much of a payload is shown, in bytes.
const maxShown = 256

// Unclaimed returns the answer of ListUnclaimed: topics that no actor subscribes to, by device
// where a built-in profile matches.
func Unclaimed(strays []mqtt.UnclaimedTopic, more bool) *mqttv1.ListUnclaimedResponse {
	all := make([]sensor.Seen, len(strays))
	for i, s := range strays {
		all[i] = sensor.Seen(s)
	}
	found, rest := sensor.Recognise(profiles.Shapes(), all)
	m := &mqttv1.ListUnclaimedResponse{Topics: shown(rest), Truncated: more}
	for _, f := range found {
		m.Devices = append(m.Devices, &mqttv1.Unclaimed{Profile: f.Profile, Device: f.Device, Topics: shown(f.Topics)})
	}
	return m
}

func shown(all []sensor.Seen) []*mqttv1.UnclaimedTopic {
	var list []*mqttv1.UnclaimedTopic
	for _, s := range all {
		t := &mqttv1.UnclaimedTopic{Topic: s.Topic, Client: s.Client, Time: timestamppb.New(s.Time), Refused: s.Refused}
		p := s.Payload[:min(len(s.Payload), maxShown)]
		// It may be cut within a character.
		if text := strings.ToValidUTF8(string(p), ""); len(text)+utf8.UTFMax > len(p) {
			t.Payload = text
		}
		list = append(list, t)
	}
	return list
}
