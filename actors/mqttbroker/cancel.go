package mqttbroker

import (
	"strings"

	"gatewayd/protocols/mqtt"
)

// cancelClass is the first part of the topics on which clients cancel calls: a call answered on
// reply/<client id>/… is cancelled on cancel/<client id>/….
const cancelClass = "cancel/"

// ownCancel reports whether the cancel topic belongs to the client.
func ownCancel(ci mqtt.ClientInfo, topic string) bool {
	return strings.HasPrefix(topic, cancelClass+ci.ID+"/")
}

// giveUp cancels the calls that are answered on a topic; with correlation data only the call that
// has it. Each is answered with "canceled".
func (at *clientSession) giveUp(p mqtt.Publish) {
	at.calls.Cancel("reply/"+strings.TrimPrefix(p.Topic, cancelClass), p.CorrelationData)
}
