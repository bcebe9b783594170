package mqtt

import (
	"errors"
	"strings"
	"unicode/utf8"

	"gatewayd/protocols/access"
)

// AllowAnyone accepts every client and gives it no identity.
func AllowAnyone(ClientInfo) (*access.Identity, error) { return nil, nil }

// DefaultAuthorize lets a client write to cmd/… and to its own reply topics reply/<client id>/…,
// and read everything except the reply topics of others.
func DefaultAuthorize(c ClientInfo, topic string, write bool) bool {
	own := "reply/" + c.ID + "/"
	switch {
	case strings.HasPrefix(topic, own):
		return true
	case write:
		return strings.HasPrefix(topic, "cmd/")
	}
	first, rest, _ := strings.Cut(topic, "/")
	return first != "reply" || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "#")
}

// ReplyTopic returns the topic on which p is answered: its response topic, or without one (MQTT
// 3.1.1) reply/<client id>/<topic without "cmd/">.
func ReplyTopic(c ClientInfo, p Publish) string {
	if p.ResponseTopic != "" {
		return p.ResponseTopic
	}
	return "reply/" + c.ID + "/" + strings.TrimPrefix(p.Topic, "cmd/")
}

// brokerOwned reports whether no client may write to a topic: the gateway's own topics and those
// beginning with $.
func brokerOwned(topic string) bool {
	if strings.HasPrefix(topic, "$") {
		return true
	}
	class, _, _ := strings.Cut(topic, "/")
	switch class {
	case "data", "event", "state", "trace", "track":
		return true
	}
	return false
}

// checkTopic returns an error if a topic name cannot be published to (MQTT 5 §4.7.3, §1.5.4).
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("empty topic")
	case len(topic) > 65535:
		return errors.New("topic longer than 65535 bytes")
	case strings.ContainsAny(topic, "+#\x00"):
		return errors.New("topic has a wildcard or a zero byte")
	case !utf8.ValidString(topic):
		return errors.New("topic is not UTF-8")
	}
	return nil
}

// checkFilter returns an error for a malformed topic filter (MQTT 5 §4.7.1). The library accepts
// "a+/b" and "a#".
func checkFilter(filter string) error {
	switch {
	case filter == "":
		return errors.New("empty filter")
	case strings.ContainsRune(filter, 0) || !utf8.ValidString(filter):
		return errors.New("filter is not UTF-8 text")
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if l == "#" && i != len(levels)-1 {
			return errors.New("# is not the last level")
		}
		if len(l) > 1 && strings.ContainsAny(l, "+#") {
			return errors.New("a wildcard must be a whole level")
		}
	}
	return nil
}

// checkClientID refuses ids that cannot be one topic level or one log attribute, and the library's
// own id.
func checkClientID(id string) error {
	switch {
	case id == inlineID:
		return errors.New("client id is reserved")
	case len(id) > 128:
		return errors.New("client id longer than 128 bytes")
	case strings.ContainsAny(id, "+#/"):
		return errors.New("client id contains +, # or /")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }):
		return errors.New("client id has control characters")
	}
	return nil
}

// unshare strips $share/<group>/ from a filter.
func unshare(filter string) string {
	if len(filter) > 7 && strings.EqualFold(filter[:7], "$share/") {
		if _, rest, ok := strings.Cut(filter[7:], "/"); ok {
			return rest
		}
	}
	return filter
}
