package shape

import (
	"strconv"

	"gatewayd/protocols/record"
)

// most is the number of announcements a maker remembers.
const most = 10_000

// Topic expands a topic that may contain ${gateway}, ${uplink} and ${client}.
func Topic(text string, who Origin) (string, error) {
	t, err := parse(text, ofGateway)
	if err != nil {
		return "", err
	}
	m := Maker{who: who}
	return string(t.render(nil, func(b []byte, p piece) []byte { return m.ofTopic(b, &record.Record{}, p) })), nil
}

func (m *Maker) topicOf(r *record.Record) string {
	return string(m.topic.render(nil, func(b []byte, p piece) []byte { return m.ofTopic(b, r, p) }))
}

// ofTopic appends a value as part of a topic.
func (m *Maker) ofTopic(b []byte, r *record.Record, p piece) []byte {
	switch p.name {
	case "gateway":
		return append(b, topical(m.who.Gateway, false)...)
	case "uplink":
		return append(b, topical(m.who.Uplink, true)...)
	case "client":
		return append(b, topical(m.who.Client, false)...)
	case "track":
		return append(b, topical(r.Track, !p.bare)...) // ${track:text} is one level of the topic
	case "track.name":
		return append(b, topical(base(r.Track), false)...)
	}
	return strconv.AppendUint(b, uint64(r.Number), 10)
}

// announceNew adds the announcements of fields that have not been sent yet.
func (m *Maker) announceNew(all []Message, topic string, r *record.Record) []Message {
	if len(m.announceTopic) == 0 || len(m.announce) <= 1 {
		return all
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		key := r.Track + "\x00" + f.Name
		if m.known[key] {
			continue
		}
		if len(m.known) >= most {
			clear(m.known)
		}
		m.known[key] = true
		at := m.announceTopic.render(nil, func(b []byte, p piece) []byte {
			switch p.name {
			case "name":
				return append(b, topical(f.Name, false)...)
			case "gateway", "uplink", "client", "track", "track.name", "number":
				return m.ofTopic(b, r, p)
			}
			return m.ofField(b, r, f, piece{name: p.name, bare: true})
		})
		payload := m.announce.render(nil, func(b []byte, p piece) []byte {
			if p.name == "topic" {
				return text(b, topic, p.bare)
			}
			return m.ofField(b, r, f, p)
		})
		all = append(all, Message{Topic: string(at), Payload: payload, Retain: true})
	}
	return all
}
