package mqtt

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// heard returns the subscribers of a topic without the cache.
func (s *Server) heard(topic string) (ids []string) {
	for id := range s.broker.Topics.Subscribers(topic).Subscriptions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (s *Server) remembered(topic string) (ids []string) {
	for _, r := range s.readers(&packets.Packet{TopicName: topic}) {
		ids = append(ids, r.id)
	}
	return ids
}

// However clients connect, subscribe and disconnect, the cache gives what the library would find.
func TestWhoHearsIsRememberedUntilSubscriptionsChange(t *testing.T) {
	s := start(t, Config{})
	filters, topics := []string{"a/#", "a/+", "a/b", "b", "#"}, []string{"a/b", "a/c", "a/b/c", "b"}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		here := map[string]*peer{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			id := fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "client"), round)
			filter := rapid.SampledFrom(filters).Draw(rt, "filter")
			p := here[id]
			switch op := rapid.IntRange(0, 3).Draw(rt, "op"); {
			case p == nil:
				here[id] = join(t, s, hello{id: id, keep: op == 0})
			case op == 1:
				p.send(frame(0xa2, []byte{0, 7}, text(filter)))
				p.want(0xb0)
			case op == 2:
				_ = p.Close()
				delete(here, id)
				here[id] = join(t, s, hello{id: id}) // this ends the previous session
			default:
				p.subscribe(filter, 1)
			}
			for _, topic := range topics {
				for range 2 {
					if got, want := s.remembered(topic), s.heard(topic); !slices.Equal(got, want) {
						rt.Fatalf("%s is heard by %v, remembered are %v", topic, want, got)
					}
				}
			}
		}
		for id, p := range here {
			_ = p.Close()
			here[id] = join(t, s, hello{id: id})
		}
	})
}

func TestTopicsOfTheSameReadersShareOneList(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", ver: 5})
	p.subscribe("a/#", 0)
	var all [2][]reader
	for range 2 { // looked up, then cached
		for i, topic := range []string{"a/1", "a/2"} {
			all[i] = s.readers(&packets.Packet{TopicName: topic})
		}
	}
	if len(all[0]) != 1 || len(all[1]) != 1 || &all[0][0] != &all[1][0] {
		t.Errorf("%v and %v", all[0], all[1])
	}
}

// A client that subscribes to a topic of its own does not invalidate the cache for other topics.
func TestWhoHearsIsRememberedWhenOthersSubscribe(t *testing.T) {
	s := start(t, Config{})
	p, q := join(t, s, hello{id: "p", ver: 5}), join(t, s, hello{id: "q", ver: 5})
	p.subscribe("a/#", 0)
	s.remembered("a/1")
	known := func() bool {
		_, known, _ := s.audience.of("a/1")
		return known
	}
	for _, filter := range []string{"a", "a/2", "+", "b/#", "$share/g/b"} {
		if q.subscribe(filter, 0); !known() {
			t.Errorf("%s has had a/1 forgotten", filter)
		}
	}
	for _, filter := range []string{"a/+", "#", "$share/g/a/1"} {
		s.remembered("a/1")
		if q.subscribe(filter, 0); known() {
			t.Errorf("in spite of %s a/1 is remembered", filter)
		}
	}
}

func TestTopicsNobodySpeaksOnAreForgotten(t *testing.T) {
	s := start(t, Config{})
	for i := range 2 * maxTopics {
		s.readers(&packets.Packet{TopicName: fmt.Sprint("a/", i)})
	}
	s.audience.mu.Lock()
	defer s.audience.mu.Unlock()
	if n := len(s.audience.known); n == 0 || n > maxTopics {
		t.Errorf("%d topics are remembered", n)
	}
}

// A member of a shared subscription is chosen anew for each message.
func TestMembersOfASharedSubscriptionTakeTurns(t *testing.T) {
	s := start(t, Config{})
	both := map[string]bool{}
	for _, id := range []string{"p", "q"} {
		join(t, s, hello{id: id, ver: 5}).subscribe("$share/g/a", 0)
	}
	for end := time.Now().Add(patience); len(both) < 2 && time.Now().Before(end); {
		for _, r := range s.readers(&packets.Packet{TopicName: "a"}) {
			both[r.id] = true
		}
	}
	if len(both) != 2 {
		t.Errorf("only %v are chosen", both)
	}
}
