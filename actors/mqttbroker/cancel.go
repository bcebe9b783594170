package mqttbroker

import (
	"bytes"
	"slices"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
)

// cancelClass begins the topics by which clients give up calls: what is answered on
// reply/<client id>/… is cancelled on cancel/<client id>/….
const cancelClass = "cancel/"

// underWay is a call that has not been answered to its end.
type underWay struct {
	command
	cancel func()
}

// openCalls are those of one client, 64 at most.
type openCalls []*underWay

func (o *openCalls) add(u *underWay) { *o = append(*o, u) }

func (o *openCalls) remove(u *underWay) {
	if i := slices.Index(*o, u); i >= 0 {
		*o = slices.Delete(*o, i, i+1)
	}
}

// giveUp is what a client has published on a cancel topic.
type giveUp struct{ mqtt.Publish }

// ownCancel tells whether a client may cancel what is answered there: it is its own.
func ownCancel(ci mqtt.ClientInfo, topic string) bool {
	return strings.HasPrefix(topic, cancelClass+ci.ID+"/")
}

// giveUp cancels the calls that are answered on the topic, those with the same
// correlation data if there is any. Each of them is answered once more: "canceled".
func (s *session) giveUp(_ *actors.Context, m giveUp) {
	reply := "reply/" + strings.TrimPrefix(m.Topic, cancelClass)
	for _, u := range s.open {
		if mqtt.ReplyTopic(u.client, u.reply) == reply &&
			(len(m.CorrelationData) == 0 || bytes.Equal(m.CorrelationData, u.reply.CorrelationData)) {
			u.cancel()
		}
	}
}
