package mqttbroker

import (
	"slices"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	"gatewayd/schemas"
)

// The catalogue has its index and its listings from the bus, like any state. The
// descriptions of kinds are large: they are made when somebody subscribes.
const (
	indexTopic      = "state/" + actors.Catalogue
	kindTopics      = indexTopic + "/Kind/" // no actor has a name with a capital letter
	descriptorsLeaf = "/descriptors"
)

// page is one topic that is made.
type page struct {
	topic string
	make  func() ([]byte, string)
}

// pages are those of a kind.
func pages(gate actors.Gate, kind string) []page {
	of := func(form func(schemas.Description) ([]byte, error), typ string) func() ([]byte, string) {
		return func() ([]byte, string) {
			d, ok := gate.Description(kind)
			if !ok {
				return nil, ""
			}
			p, err := form(d)
			if err != nil {
				return nil, "" // a test makes those of every kind
			}
			return p, typ
		}
	}
	return []page{
		{kindTopics + kind, of(schemas.Description.JSON, jsonType)},
		{kindTopics + kind + descriptorsLeaf, of(schemas.Description.Descriptors, protobufType)},
	}
}

// made is for goroutines of clients.
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

// mayPick keeps the large descriptions from who subscribes to everything, or to all
// states: they are for who asks for the catalogue.
func mayPick(filter string) bool { return strings.HasPrefix(filter, indexTopic+"/") }

// announce shows kinds that have come, and takes back those that have gone.
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
