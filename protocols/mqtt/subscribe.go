package mqtt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SubscribeRequest is the message by which an actor asks a broker's actor for the messages that
// clients publish among themselves. It replaces the actor's previous subscriptions, is valid for
// SubscriptionTime and must then be repeated; the answer is a *SubscribeRequest as well. Unlike
// with Claim, others receive the same messages too.
type SubscribeRequest struct {
	Path     string   // of the actor
	Filters  []string // none: unsubscribe from everything
	Retained bool     // send retained messages, also for filters subscribed to before
	Fresh    bool     // in the answer: the actor was not known before, and may have missed messages
}

// SubscriptionTime is how long a SubscribeRequest is valid.
const SubscriptionTime = 15 * time.Second

// Delivery is sent to the actor for each publish.
type Delivery struct {
	Topic    string
	Payload  []byte // read-only
	Retained bool   // it is a retained message, not a new one
	Client   string // the publisher; empty: not known
	Expiry   time.Duration
	User     []UserProperty
}

// SubscriptionLost is sent to the actor when its subscription has ended; the actor should subscribe
// again.
type SubscriptionLost struct{ Cause string }

// PublishRequest is the message by which an actor asks a broker's actor to publish with QoS 1. The
// answer is a *PublishRequest as well, when the broker has accepted it.
type PublishRequest struct {
	Path    string // of the actor
	Topic   string
	Payload []byte
	Retain  bool
	Expiry  time.Duration // the message expires after that; 0: never
	User    []UserProperty
}

// Check returns an error if the message cannot be published.
func (m *PublishRequest) Check() error {
	if err := checkTopic(m.Topic); err != nil {
		return err
	}
	if own(m.Topic) {
		return fmt.Errorf("topic %q is reserved for the gateway", m.Topic)
	}
	return nil
}

// own reports whether a topic belongs to the gateway, including answers and calls.
func own(topic string) bool {
	class, _, _ := strings.Cut(topic, "/")
	return brokerOwned(topic) || class == "cmd" || class == "reply"
}

// CheckForeign returns an error if a filter is not valid for the topics that clients publish among
// themselves.
func CheckForeign(filter string) error {
	if err := checkFilter(filter); err != nil {
		return err
	}
	first, _, _ := strings.Cut(filter, "/")
	switch {
	case first == "#" || first == "+":
		return fmt.Errorf("filter %q begins with a wildcard and would match topics of the gateway", filter)
	case own(filter):
		return fmt.Errorf("filter %q matches topics of the gateway", filter)
	}
	return nil
}

// Covers reports whether a filter matches a topic.
func Covers(filter, topic string) bool { return covers(filter, topic) }

// ActorSubscriptions are the subscriptions of actors. Any goroutine may read them; only one may
// change them.
type ActorSubscriptions struct {
	all   map[string]actorSubscription // by path
	index atomic.Pointer[subscriptionIndex]
}

type actorSubscription struct {
	filters []string
	until   time.Time
}

type subscriptionIndex struct {
	exact map[string][]string // paths by topic
	wild  []wildcardSubscription
}

type wildcardSubscription struct{ filter, path string }

// Update makes or renews a subscription. It returns the filters whose retained messages must be
// sent.
func (h *ActorSubscriptions) Update(m *SubscribeRequest, now time.Time) (fresh []string, err error) {
	for _, f := range m.Filters {
		if err := CheckForeign(f); err != nil {
			return nil, err
		}
	}
	if h.all == nil {
		h.all = map[string]actorSubscription{}
	}
	changed := false
	for path, x := range h.all {
		if !x.until.After(now) {
			delete(h.all, path)
			changed = true
		}
	}
	was, added := h.all[m.Path].filters, false
	for _, f := range m.Filters {
		if !slices.Contains(was, f) {
			added = true
		} else if !m.Retained {
			continue
		}
		fresh = append(fresh, f)
	}
	if len(m.Filters) == 0 {
		delete(h.all, m.Path)
	} else {
		h.all[m.Path] = actorSubscription{m.Filters, now.Add(SubscriptionTime)}
	}
	if changed || added || len(was) != len(m.Filters) {
		h.reindex()
	}
	return fresh, nil
}

// Has reports whether an actor has a subscription.
func (h *ActorSubscriptions) Has(path string) bool {
	_, ok := h.all[path]
	return ok
}

func (h *ActorSubscriptions) reindex() {
	x := &subscriptionIndex{exact: map[string][]string{}}
	for path, one := range h.all {
		for _, f := range one.filters {
			if strings.ContainsAny(f, "+#") {
				x.wild = append(x.wild, wildcardSubscription{f, path})
			} else {
				x.exact[f] = append(x.exact[f], path)
			}
		}
	}
	h.index.Store(x)
}

// Filters returns all filters, each once.
func (h *ActorSubscriptions) Filters() []string {
	var all []string
	for _, one := range h.all {
		all = append(all, one.filters...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Paths returns the actors that subscribe to a topic, each once.
func (h *ActorSubscriptions) Paths(topic string) []string {
	x := h.index.Load()
	if x == nil {
		return nil
	}
	paths := x.exact[topic]
	for _, w := range x.wild {
		if !slices.Contains(paths, w.path) && covers(w.filter, topic) {
			paths = append(slices.Clip(paths), w.path)
		}
	}
	return paths
}

// Subscribers returns the paths of all actors with a subscription.
func (h *ActorSubscriptions) Subscribers() []string { return slices.Sorted(maps.Keys(h.all)) }

// Any reports whether an actor subscribes to a topic.
func (h *ActorSubscriptions) Any(topic string) bool { return len(h.Paths(topic)) > 0 }

// Unclaimed are the topics that clients have published to and that no actor subscribes to, with the
// latest message of each. It is safe for concurrent use.
type Unclaimed struct {
	mu   sync.Mutex
	all  map[string]UnclaimedTopic
	more bool
}

// UnclaimedTopic is the last publish on such a topic.
type UnclaimedTopic struct {
	Topic, Client string
	Payload       []byte // possibly truncated
	Time          time.Time
	Refused       bool // the client may not publish there
}

const (
	maxUnclaimed = 512  // topics remembered
	maxExcerpt   = 1024 // bytes of a payload
	maxTopic     = 256  // bytes of a topic
)

// Add remembers a publish. Topics of the gateway are ignored.
func (s *Unclaimed) Add(x UnclaimedTopic) {
	if own(x.Topic) || len(x.Topic) > maxTopic {
		return
	}
	x.Payload = slices.Clone(x.Payload[:min(len(x.Payload), maxExcerpt)])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]UnclaimedTopic{}
	}
	if _, known := s.all[x.Topic]; !known && len(s.all) >= maxUnclaimed {
		s.more = true
		return
	}
	s.all[x.Topic] = x
}

// List returns the topics that match a filter and for which pick returns true. more reports that
// there were too many to remember.
func (s *Unclaimed) List(filter string, pick func(topic string) bool) (all []UnclaimedTopic, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, x := range s.all {
		if covers(filter, topic) && pick(topic) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b UnclaimedTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return all, s.more
}
