package mqtt

import (
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// kept is what the owner's own Publish retains for good: thousands of short states, which as packets in the library's
// index would take a kilobyte each and be copied once a second in search of expired ones.
type kept struct {
	mu  sync.RWMutex
	all map[string]keptMessage // by topic
}

type keptMessage struct {
	payload []byte
	typ     string // content type
}

// take keeps pk in the place of what its topic had; an empty payload removes that. It is false for a message that only
// the library can keep: one that expires, or with more properties than a content type. Nothing is kept of it then.
func (k *kept) take(pk *packets.Packet) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &pk.Properties
	plain := p.MessageExpiryInterval == 0 && p.ResponseTopic == "" && len(p.CorrelationData) == 0 && len(p.User) == 0 && !p.PayloadFormatFlag
	if len(pk.Payload) == 0 || !plain {
		delete(k.all, pk.TopicName)
		return false
	}
	k.all[pk.TopicName] = keptMessage{pk.Payload, p.ContentType}
	return true
}

func (k *kept) drop(topic string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, topic)
}

func (k *kept) len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.all)
}

// topics lists those that a filter matches.
func (k *kept) topics(filter string) []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var found []string
	for topic := range k.all {
		if covers(filter, topic) {
			found = append(found, topic)
		}
	}
	return found
}

// packet is what is kept of a topic; ok is false when that is nothing any more.
func (k *kept) packet(topic string) (pk packets.Packet, ok bool) {
	k.mu.RLock()
	m, ok := k.all[topic]
	k.mu.RUnlock()
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, ProtocolVersion: 5,
		TopicName: topic, Payload: m.payload, Origin: inlineID, Created: time.Now().Unix(),
		Properties: packets.Properties{ContentType: m.typ},
	}, ok
}

// covers tells whether a filter matches a topic (MQTT 5 §4.7).
func covers(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, filters, deeper := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, topics, more := strings.Cut(topic, "/")
		switch {
		case f != "+" && f != t:
			return false
		case !deeper || !more:
			return deeper == more || !more && filters == "#" // a/# matches a
		}
		filter, topic = filters, topics
	}
}
