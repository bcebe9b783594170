package sparkplug

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Namespace begins every topic of Sparkplug B.
const Namespace = "spBv1.0"

// Verbs of topics.
const (
	NBIRTH = "NBIRTH"
	NDATA  = "NDATA"
	NDEATH = "NDEATH"
	NCMD   = "NCMD"
	DBIRTH = "DBIRTH"
	DDATA  = "DDATA"
	DDEATH = "DDEATH"
	DCMD   = "DCMD"
)

// Topic returns the topic of a node or, with a device, of one of its devices.
func Topic(group, verb, node, device string) string {
	t := Namespace + "/" + group + "/" + verb + "/" + node
	if device != "" {
		t += "/" + device
	}
	return t
}

// ParsedTopic is the content of a topic of a node or device.
type ParsedTopic struct{ Group, Verb, Node, Device string }

// ParseTopic parses a topic made by Topic.
func ParseTopic(topic string) (ParsedTopic, bool) {
	parts := strings.Split(topic, "/")
	if len(parts) < 4 || parts[0] != Namespace {
		return ParsedTopic{}, false
	}
	w := ParsedTopic{Group: parts[1], Verb: parts[2], Node: parts[3]}
	switch w.Verb {
	case NBIRTH, NDATA, NDEATH, NCMD:
		return w, len(parts) == 4
	case DBIRTH, DDATA, DDEATH, DCMD:
		if len(parts) != 5 {
			return ParsedTopic{}, false
		}
		w.Device = parts[4]
		return w, w.Device != ""
	}
	return ParsedTopic{}, false
}

// CheckID returns an error if an id is not allowed for a group, node, device or host.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("an id is needed")
	case !utf8.ValidString(id) || strings.ContainsAny(id, "\x00"):
		return errors.New("an id is UTF-8 text")
	case strings.ContainsAny(id, "+/#"):
		return fmt.Errorf("%q: an id must not contain +, / or #", id)
	}
	return nil
}

// StateTopic returns the topic on which a host application says whether it is online.
func StateTopic(host string) string { return Namespace + "/STATE/" + host }

// A State is the message of a host application on that topic.
type State struct {
	Online bool
	Time   int64 // milliseconds since 1970
}

// ParseState decodes the message of a host application.
func ParseState(payload []byte) (State, error) {
	var s struct {
		Online    *bool  `json:"online"`
		Timestamp *int64 `json:"timestamp"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return State{}, fmt.Errorf("state of a host: %w", err)
	}
	if s.Online == nil || s.Timestamp == nil {
		return State{}, errors.New("state of a host: online and timestamp are needed")
	}
	return State{*s.Online, *s.Timestamp}, nil
}
