package mqtt

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// sysTree is the prefix of the broker's statistics, with the topics of mosquitto(8).
const sysTree = "$SYS/broker/"

// sendSys sends the present statistics to a new subscriber.
func (s *Server) sendSys(cl *mochi.Client, c *conn, sub packets.Subscription) {
	if !strings.HasPrefix(sub.Filter, "$SYS/") {
		return
	}
	n := s.Stats()
	for _, value := range []struct {
		topic string
		is    int64
	}{
		{"clients/connected", int64(n.Clients)},
		{"clients/disconnected", int64(n.Sessions)},
		{"clients/total", int64(n.Clients + n.Sessions)},
		{"subscriptions/count", int64(n.Subscriptions)},
		{"retained messages/count", int64(n.Retained)},
		{"publish/messages/received", n.MessagesIn},
		{"publish/messages/sent", n.MessagesOut},
		{"publish/messages/dropped", n.Dropped},
		{"bytes/received", n.BytesIn},
		{"bytes/sent", n.BytesOut},
	} {
		if !s.tellSys(cl, c, sub, value.topic, strconv.FormatInt(value.is, 10)) {
			return
		}
	}
	s.tellSys(cl, c, sub, "uptime", fmt.Sprintf("%d seconds", s.now()/int64(time.Second)))
}

func (s *Server) tellSys(cl *mochi.Client, c *conn, sub packets.Subscription, topic, value string) bool {
	topic = sysTree + topic
	if !covers(sub.Filter, topic) || !s.mayRead(c.info, topic) {
		return true
	}
	return s.sendOld(cl, c, sub, &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, ProtocolVersion: 5,
		TopicName: topic, Payload: []byte(value), Origin: inlineID, Created: time.Now().Unix(),
	})
}
