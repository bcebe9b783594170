// Package mqttbridge makes the decisions of a bridge between two MQTT brokers: which topic
// corresponds to which on the other side, what would loop for ever, and what has passed here
// before. It uses no connection and no clock.
package mqttbridge

import (
	"fmt"
	"slices"
	"strings"

	"gatewayd/protocols/mqttclient"
)

// Map is a set of topics: a filter with one prefix here and another one there.
type Map struct{ Filter, Local, Remote string }

// LocalFilter matches the topics of the set here.
func (m Map) LocalFilter() string { return m.Local + m.Filter }

// RemoteFilter matches the topics of the set there.
func (m Map) RemoteFilter() string { return m.Remote + m.Filter }

// ToRemote translates a topic of this side; ok is false if it is not in the set.
func (m Map) ToRemote(topic string) (string, bool) { return swap(topic, m.Local, m.Remote, m.Filter) }

// ToLocal translates a topic of the other side; ok is false if it is not in the set.
func (m Map) ToLocal(topic string) (string, bool) { return swap(topic, m.Remote, m.Local, m.Filter) }

func swap(topic, from, to, filter string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, from)
	if !ok || rest == "" || !mqttclient.Matches(from+filter, topic) || !mqttclient.Matches(filter, rest) {
		return "", false
	}
	return to + rest, true
}

// Check returns what is wrong with the set itself: a wildcard that is not a whole level, or a
// prefix with a wildcard.
func (m Map) Check() error {
	for _, filter := range []string{m.Filter, m.LocalFilter(), m.RemoteFilter()} {
		levels := strings.Split(filter, "/")
		for i, l := range levels {
			switch {
			case l == "#" && i != len(levels)-1:
				return fmt.Errorf("filter %q: # is not the last level", filter)
			case len(l) > 1 && strings.ContainsAny(l, "+#"):
				return fmt.Errorf("filter %q: a wildcard must be a whole level: end the prefix with /", filter)
			}
		}
	}
	return nil
}

// Overlap reports whether there is a topic that both filters match.
func Overlap(a, b string) bool {
	return overlap(strings.Split(a, "/"), strings.Split(b, "/"))
}

func overlap(a, b []string) bool {
	switch {
	case len(a) > 0 && a[0] == "#" || len(b) > 0 && b[0] == "#":
		return true
	case len(a) == 0 || len(b) == 0: // x/# matches x
		rest := append(slices.Clone(a), b...)
		return len(rest) == 0
	case a[0] == "+" || b[0] == "+" || a[0] == b[0]:
		if len(a) == 1 && len(b) == 2 && b[1] == "#" || len(b) == 1 && len(a) == 2 && a[1] == "#" {
			return true
		}
		return overlap(a[1:], b[1:])
	}
	return false
}

// Covered reports whether another filter matches everything that filter matches.
func Covered(filter, by string) bool {
	f, c := strings.Split(filter, "/"), strings.Split(by, "/")
	for i := range c {
		switch {
		case c[i] == "#":
			return true
		case i >= len(f), f[i] == "#":
			return false
		case c[i] != "+" && c[i] != f[i]:
			return false
		}
	}
	return len(f) == len(c) || len(c) == len(f)+1 && c[len(c)-1] == "#"
}

// Via is the name of the user property with the bridges that a message has passed. Each bridge adds
// one.
const Via = "gatewayd-via"

// maxHops is the number of bridges a message may pass.
const maxHops = 8

// Passed reports whether a message has passed this bridge before, or too many bridges.
func Passed(user [][2]string, bridge string) bool {
	hops := 0
	for _, u := range user {
		if u[0] != Via {
			continue
		}
		if hops++; u[1] == bridge || hops >= maxHops {
			return true
		}
	}
	return false
}
