package mqtt

import (
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// kept holds the retained messages. Most are short states, by the thousand. As packets in the
// library's index each would take a kilobyte, be copied once a second in search of expired ones,
// and expire by the wall clock.
type kept struct {
	mu  sync.RWMutex
	all map[string]keptMessage // by topic
}

type keptMessage struct {
	payload []byte
	typ     string    // content type
	rest    *keptRest // nil: the owner's own message, which does not expire
}

// keptRest is what only some messages have.
type keptRest struct {
	qos        byte
	origin     string
	properties packets.Properties
	until      time.Time // zero: never expires; steps of the clock do not affect it
}

// take keeps pk instead of the previous message of its topic; an empty payload removes that.
func (k *kept) take(pk *packets.Packet, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(pk.Payload) == 0 {
		delete(k.all, pk.TopicName)
		return
	}
	p := &pk.Properties
	m := keptMessage{payload: pk.Payload, typ: p.ContentType}
	plain := p.MessageExpiryInterval == 0 && p.ResponseTopic == "" && len(p.CorrelationData) == 0 && len(p.User) == 0 && !p.PayloadFormatFlag
	if !plain || pk.Origin != inlineID {
		m.rest = &keptRest{qos: pk.FixedHeader.Qos, origin: pk.Origin, properties: p.Copy(false)}
		if e := p.MessageExpiryInterval; e > 0 {
			m.rest.until = now.Add(time.Duration(e) * time.Second)
		}
	}
	k.all[pk.TopicName] = m
}

// purge removes expired messages and returns their topics.
func (k *kept) purge(now time.Time) (gone []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for topic, m := range k.all {
		if m.rest != nil && m.rest.over(now) {
			delete(k.all, topic)
			gone = append(gone, topic)
		}
	}
	return gone
}

func (r *keptRest) over(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

func (k *kept) len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.all)
}

// topics returns the topics that match a filter.
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

// packet returns the retained message of a topic; ok is false if there is none.
func (k *kept) packet(topic string) (pk packets.Packet, ok bool) {
	k.mu.RLock()
	m, ok := k.all[topic]
	k.mu.RUnlock()
	now := time.Now()
	if !ok || m.rest != nil && m.rest.over(now) {
		return pk, false
	}
	pk = packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, ProtocolVersion: 5,
		TopicName: topic, Payload: m.payload, Origin: inlineID, Created: now.Unix(),
		Properties: packets.Properties{ContentType: m.typ},
	}
	if r := m.rest; r != nil {
		pk.FixedHeader.Qos, pk.Origin, pk.Properties = r.qos, r.origin, r.properties
		if !r.until.IsZero() {
			pk.Expiry = now.Unix() + int64(r.until.Sub(now)/time.Second) + 1
		}
	}
	return pk, true
}

// covers reports whether a filter matches a topic (MQTT 5 §4.7).
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
