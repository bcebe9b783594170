package mqttbroker

import (
	"slices"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	"gatewayd/schemas"
)

// The index and the listings of the catalogue come from the bus, like any state. The descriptions
// of kinds are large, so they are generated when a client subscribes.
const (
	indexTopic      = "state/" + actors.Catalogue
	kindTopics      = indexTopic + "/Kind/" // no actor name has an upper-case letter
	descriptorsLeaf = "/descriptors"
)

// page is one generated topic.
type page struct {
	topic string
	make  func() ([]byte, string)
}

// pages returns the topics of a kind.
func pages(gate actors.Gate, kind string) []page {
	of := func(form func(schemas.Description) ([]byte, error), typ string) func() ([]byte, string) {
		return func() ([]byte, string) {
			d, ok := gate.Description(kind)
			if !ok {
				return nil, ""
			}
			p, err := form(d)
			if err != nil {
				return nil, "" // a test generates them for every kind
			}
			return p, typ
		}
	}
	return []page{
		{kindTopics + kind, of(schemas.Description.JSON, jsonType)},
		{kindTopics + kind + descriptorsLeaf, of(schemas.Description.Descriptors, protobufType)},
	}
}

// made returns the function that lists the generated topics for a filter. It runs in client
// goroutines.
func made(gate actors.Gate) func(string, func(string, func() ([]byte, string)) bool) {
	return func(filter string, each func(string, func() ([]byte, string)) bool) {
		if !mayPick(filter) {
			return
		}
		for _, kind := range gate.Kinds() {
			for _, p := range pages(gate, kind) {
				if mqtt.Covers(filter, p.topic) && !each(p.topic, p.make) {
					return
				}
			}
		}
	}
}

// mayPick reports whether a filter asks for the catalogue explicitly. Subscribers to everything or
// to all states do not get the large descriptions.
func mayPick(filter string) bool { return strings.HasPrefix(filter, indexTopic+"/") }

// announce publishes the kinds that are new and withdraws those that are gone.
func (b *broker) announce(c *actors.Context) {
	gate, now := c.Gate(), c.Gate().Kinds()
	tell := func(kinds, known []string, make func(page) func() ([]byte, string)) {
		for _, kind := range kinds {
			if slices.Contains(known, kind) {
				continue
			}
			for _, p := range pages(gate, kind) {
				if err := b.server.Announce(p.topic, make(p)); err != nil {
					c.Log().Debug("kind not announced", "kind", kind, "err", err)
				}
			}
		}
	}
	tell(b.kinds, now, func(page) func() ([]byte, string) { return func() ([]byte, string) { return nil, jsonType } })
	tell(now, b.kinds, func(p page) func() ([]byte, string) { return p.make })
	b.kinds = now
}
