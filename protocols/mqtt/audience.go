package mqtt

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// audience remembers who subscribes to a topic that is spoken on again and again: the library walks its tree and makes
// half a dozen maps for each message.
type audience struct {
	mu     sync.Mutex
	change uint64 // counts those of the subscriptions
	known  map[string][]reader
	latest []reader // of whatever topic
}

// reader is a client that hears a topic, and how.
type reader struct {
	id          string
	qos         byte
	noLocal     bool
	asPublished bool
	ids         []int // of its subscriptions, sorted
}

// mostTopics are remembered; those that no device speaks on any more go when there are as many.
const mostTopics = 4096

func readerOf(id string, sub packets.Subscription) reader {
	return reader{id, sub.Qos, sub.NoLocal, sub.RetainAsPublished, identifiers(sub)}
}

func (r reader) equal(o reader) bool {
	return r.id == o.id && r.qos == o.qos && r.noLocal == o.noLocal && r.asPublished == o.asPublished && slices.Equal(r.ids, o.ids)
}

// changed is said after the library's tree has changed and before the client is told so. What other filters than these match stays:
// clients come and go, and topics are many.
func (a *audience) changed(filters []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change++
	for _, f := range filters {
		f = unshare(f)
		maps.DeleteFunc(a.known, func(topic string, _ []reader) bool { return covers(f, topic) })
	}
}

// of is who hears a topic, if that is known; else note is told after the change that is returned.
func (a *audience) of(topic string) (all []reader, known bool, change uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, known = a.known[topic]
	return all, known, a.change
}

// note remembers who hears a topic, unless the subscriptions have changed since. Topics that the same clients hear share
// one list.
func (a *audience) note(topic string, all []reader, change uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.change != change:
		return
	case a.known == nil || len(a.known) >= mostTopics:
		a.known = make(map[string][]reader)
	}
	if slices.EqualFunc(all, a.latest, reader.equal) {
		all = a.latest
	}
	a.known[topic], a.latest = all, all
}

// readers is who hears a message.
func (s *Server) readers(pk *packets.Packet) []reader {
	all, known, change := s.audience.of(pk.TopicName)
	if known {
		return all
	}
	to := s.broker.Topics.Subscribers(pk.TopicName)
	share := len(to.Shared) > 0
	if share {
		to.SelectShared() // another one each time
		to.MergeSharedSelected()
	}
	for id, sub := range to.Subscriptions {
		all = append(all, readerOf(id, sub))
	}
	slices.SortFunc(all, func(a, b reader) int { return strings.Compare(a.id, b.id) })
	if !share && !pk.FixedHeader.Retain { // what is kept is said seldom
		s.audience.note(pk.TopicName, all, change)
	}
	return all
}
