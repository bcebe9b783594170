package mqtt

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// audience caches the subscribers of topics that are published to repeatedly. The library would
// walk its tree and make half a dozen maps for each message.
type audience struct {
	mu     sync.Mutex
	change uint64 // counts changes of the subscriptions
	known  map[string][]reader
	latest []reader // of the topic cached last
}

// reader is a client that subscribes to a topic, with its options.
type reader struct {
	id          string
	qos         byte
	noLocal     bool
	asPublished bool
	ids         []int // of its subscriptions, sorted
}

// maxTopics is the number of topics cached. When it is reached, all are dropped, so that unused
// ones do not stay.
const maxTopics = 4096

func readerOf(id string, sub packets.Subscription) reader {
	return reader{id, sub.Qos, sub.NoLocal, sub.RetainAsPublished, identifiers(sub)}
}

func (r reader) equal(o reader) bool {
	return r.id == o.id && r.qos == o.qos && r.noLocal == o.noLocal && r.asPublished == o.asPublished && slices.Equal(r.ids, o.ids)
}

// changed is called after the library's tree has changed and before the client is told. Cached
// topics that none of these filters matches stay valid, since clients come and go and topics are
// many.
func (a *audience) changed(filters []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change++
	for _, f := range filters {
		f = unshare(f)
		maps.DeleteFunc(a.known, func(topic string, _ []reader) bool { return covers(f, topic) })
	}
}

// of returns the subscribers of a topic, if cached. If not, pass the returned change to note.
func (a *audience) of(topic string) (all []reader, known bool, change uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, known = a.known[topic]
	return all, known, a.change
}

// note caches the subscribers of a topic, unless the subscriptions have changed since. Topics with
// the same subscribers share one list.
func (a *audience) note(topic string, all []reader, change uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.change != change:
		return
	case a.known == nil || len(a.known) >= maxTopics:
		a.known = make(map[string][]reader)
	}
	if slices.EqualFunc(all, a.latest, reader.equal) {
		all = a.latest
	}
	a.known[topic], a.latest = all, all
}

// readers returns the subscribers of a message.
func (s *Server) readers(pk *packets.Packet) []reader {
	all, known, change := s.audience.of(pk.TopicName)
	if known {
		return all
	}
	to := s.broker.Topics.Subscribers(pk.TopicName)
	share := len(to.Shared) > 0
	if share {
		to.SelectShared() // another member each time
		to.MergeSharedSelected()
	}
	for id, sub := range to.Subscriptions {
		all = append(all, readerOf(id, sub))
	}
	slices.SortFunc(all, func(a, b reader) int { return strings.Compare(a.id, b.id) })
	if !share && !pk.FixedHeader.Retain { // retained messages are published seldom
		s.audience.note(pk.TopicName, all, change)
	}
	return all
}
