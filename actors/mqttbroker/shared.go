package mqttbroker

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// shared is the state that one life of a broker shares with its sessions. server does not change
// once there is a session.
type shared struct {
	cfg    *mqttv1.Broker
	gate   gate
	claims mqtt.Claims
	slots  mqtt.Slots   // calls under way
	server *mqtt.Server // nil until the broker listens
}

// of returns the config of a session actor.
func of(ci *mqtt.ClientInfo) *mqttv1.Session {
	s := &mqttv1.Session{
		ClientId: ci.ID, Username: ci.Username, Remote: ci.Remote, Connected: timestamppb.Now(),
		Version: map[byte]string{3: "3.1", 4: "3.1.1", 5: "5"}[ci.Version],
	}
	if ci.Identity != nil && ci.Identity.Name != access.Anonymous {
		s.Identity = ci.Identity.Name
	}
	return s
}

// status returns the status of a session.
func (h *shared) status(path string, of *mqttv1.Session, ci mqtt.ClientInfo, calls *mqtt.Calls) *mqttv1.Status {
	t := h.server.Traffic(ci)
	m := &mqttv1.Status{
		Path: path, Session: of, Connected: t.Connected, Dropped: uint64(t.Dropped), Throttled: uint64(t.Throttled),
		BytesIn: uint64(t.BytesIn), BytesOut: uint64(t.BytesOut), MessagesIn: uint64(t.MessagesIn), MessagesOut: uint64(t.MessagesOut),
		Queued: uint32(t.Queued), QueuedBytes: uint64(t.QueuedBytes), Calls: uint32(calls.Open()), CallsRefused: calls.Refused(),
	}
	for s := range slices.Values(t.Subscriptions) {
		m.Subscriptions = append(m.Subscriptions, &mqttv1.Subscription{Filter: s.Filter, Qos: uint32(s.QoS)})
	}
	return m
}
