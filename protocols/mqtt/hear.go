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

// Hear is the message by which an actor asks a broker's actor for the messages that clients publish
// among themselves. It replaces the actor's previous Hear, is valid for HearTime and must then be
// repeated; the answer is a *Hear as well. Unlike with Claim, others receive the same messages too.
type Hear struct {
	Path     string   // of the actor
	Filters  []string // none: unsubscribe from everything
	Retained bool     // send retained messages, also for filters subscribed to before
	Fresh    bool     // in the answer: the actor was not known before, and may have missed messages
}

// HearTime is how long a Hear is valid.
const HearTime = 15 * time.Second

// Heard is sent to the actor for each publish.
type Heard struct {
	Topic    string
	Payload  []byte // read-only
	Retained bool   // it is a retained message, not a new one
	Client   string // the publisher; empty: not known
	Expiry   time.Duration
	User     []UserProperty
}

// Lost is sent to the actor when its subscription has ended; the actor should subscribe again.
type Lost struct{ Cause string }

// Say is the message by which an actor asks a broker's actor to publish with QoS 1. The answer is a
// *Say as well, when the broker has accepted it.
type Say struct {
	Path    string // of the actor
	Topic   string
	Payload []byte
	Retain  bool
	Expiry  time.Duration // the message expires after that; 0: never
	User    []UserProperty
}

// Check returns an error if the message cannot be published.
func (m *Say) Check() error {
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

// Hearings are the subscriptions of actors. Any goroutine may read them; only one may change them.
type Hearings struct {
	all   map[string]hearing // by path
	index atomic.Pointer[hearingIndex]
}

type hearing struct {
	filters []string
	until   time.Time
}

type hearingIndex struct {
	exact map[string][]string // paths by topic
	wild  []wildHearing
}

type wildHearing struct{ filter, path string }

// Take makes or renews a subscription. It returns the filters whose retained messages must be sent.
func (h *Hearings) Take(m *Hear, now time.Time) (fresh []string, err error) {
	for _, f := range m.Filters {
		if err := CheckForeign(f); err != nil {
			return nil, err
		}
	}
	if h.all == nil {
		h.all = map[string]hearing{}
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
		h.all[m.Path] = hearing{m.Filters, now.Add(HearTime)}
	}
	if changed || added || len(was) != len(m.Filters) {
		h.reindex()
	}
	return fresh, nil
}

// Knows reports whether an actor has a subscription.
func (h *Hearings) Knows(path string) bool {
	_, ok := h.all[path]
	return ok
}

func (h *Hearings) reindex() {
	x := &hearingIndex{exact: map[string][]string{}}
	for path, one := range h.all {
		for _, f := range one.filters {
			if strings.ContainsAny(f, "+#") {
				x.wild = append(x.wild, wildHearing{f, path})
			} else {
				x.exact[f] = append(x.exact[f], path)
			}
		}
	}
	h.index.Store(x)
}

// Filters returns all filters, each once.
func (h *Hearings) Filters() []string {
	var all []string
	for _, one := range h.all {
		all = append(all, one.filters...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Paths returns the actors that subscribe to a topic, each once.
func (h *Hearings) Paths(topic string) []string {
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

// Everybody returns the paths of all actors with a subscription.
func (h *Hearings) Everybody() []string { return slices.Sorted(maps.Keys(h.all)) }

// Any reports whether an actor subscribes to a topic.
func (h *Hearings) Any(topic string) bool { return len(h.Paths(topic)) > 0 }

// Strays are the topics that clients have published to and that no actor subscribes to, with the
// latest message of each. It is safe for concurrent use.
type Strays struct {
	mu   sync.Mutex
	all  map[string]Stray
	more bool
}

// Stray is the last publish on such a topic.
type Stray struct {
	Topic, Client string
	Payload       []byte // possibly truncated
	Time          time.Time
	Refused       bool // the client may not publish there
}

const (
	maxStrays  = 512  // topics remembered
	maxExcerpt = 1024 // bytes of a payload
	maxTopic   = 256  // bytes of a topic
)

// Note remembers a publish. Topics of the gateway are ignored.
func (s *Strays) Note(x Stray) {
	if own(x.Topic) || len(x.Topic) > maxTopic {
		return
	}
	x.Payload = slices.Clone(x.Payload[:min(len(x.Payload), maxExcerpt)])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]Stray{}
	}
	if _, known := s.all[x.Topic]; !known && len(s.all) >= maxStrays {
		s.more = true
		return
	}
	s.all[x.Topic] = x
}

// List returns the topics that match a filter and for which pick returns true. more reports that
// there were too many to remember.
func (s *Strays) List(filter string, pick func(topic string) bool) (all []Stray, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, x := range s.all {
		if covers(filter, topic) && pick(topic) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b Stray) int { return strings.Compare(a.Topic, b.Topic) })
	return all, s.more
}
