package mqttbroker

import (
	"strings"

	"gatewayd/protocols/mqtt"
)

// cancelClass begins the topics by which clients give up calls: what is answered on
// reply/<client id>/… is cancelled on cancel/<client id>/….
const cancelClass = "cancel/"

// ownCancel tells whether a client may cancel what is answered there: it is its own.
func ownCancel(ci mqtt.ClientInfo, topic string) bool {
	return strings.HasPrefix(topic, cancelClass+ci.ID+"/")
}

// giveUp cancels the calls that are answered on a topic, those with the same
// correlation data if there is any. Each of them is answered once more: "canceled".
func (at *seat) giveUp(p mqtt.Publish) {
	at.calls.Cancel("reply/"+strings.TrimPrefix(p.Topic, cancelClass), p.CorrelationData)
}
