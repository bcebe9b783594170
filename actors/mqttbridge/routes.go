package mqttbridge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/mqttbridge"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// routes are the configured sets of topics.
type routes struct {
	out []outRoute
	in  []inRoute
}

type outRoute struct {
	mqttbridge.Map
	*mqttv1.BridgeOut
}

type inRoute struct {
	mqttbridge.Map
	*mqttv1.BridgeIn
}

// ours reports whether the route's topics are published by the gateway itself.
func (r *outRoute) ours() bool {
	class, _, _ := strings.Cut(r.LocalFilter(), "/")
	return class == "data" || class == "event" || class == "state"
}

// subjects returns the filters of topics published by the gateway.
func (r *routes) subjects() []string {
	return r.filters(func(o *outRoute) bool { return o.ours() })
}

// foreign returns the filters of topics published by clients of the gateway's broker.
func (r *routes) foreign() []string { return r.filters(func(o *outRoute) bool { return !o.ours() }) }

// states returns the filters whose last states are sent as well; persist selects the routes that
// are not volatile.
func (r *routes) states(persist bool) []string {
	return r.filters(func(o *outRoute) bool {
		return o.Volatile != persist && strings.HasPrefix(o.LocalFilter(), "state/")
	})
}

func (r *routes) filters(pick func(*outRoute) bool) []string {
	var all []string
	for i := range r.out {
		if pick(&r.out[i]) {
			all = append(all, r.out[i].LocalFilter())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// routesOf returns the routes of a config, or what is wrong with them.
func routesOf(cfg *mqttv1.Bridge) (r routes, bad []schemas.Violation) {
	wrong := func(field string, i int, err error) {
		bad = append(bad, schemas.Wrong(fmt.Sprintf("%s[%d]", field, i), err)...)
	}
	for i, o := range cfg.Out {
		m := outRoute{mqttbridge.Map{Filter: o.Topic, Local: o.LocalPrefix, Remote: o.RemotePrefix}, o}
		wrong("out", i, m.check(cfg.Broker))
		if o.Qos == 2 && cfg.SessionExpiry.AsDuration() > 0 && !o.Volatile {
			bad = append(bad, schemas.Wrong(fmt.Sprintf("out[%d].qos", i), errKept)...)
		}
		for k := range r.out {
			if err := twice("out", k, mqttbridge.Overlap(r.out[k].LocalFilter(), m.LocalFilter())); err != nil {
				wrong("out", i, err)
			}
		}
		r.out = append(r.out, m)
	}
	var remote []string
	for i, o := range cfg.In {
		m := inRoute{mqttbridge.Map{Filter: o.Topic, Local: o.LocalPrefix, Remote: o.RemotePrefix}, o}
		wrong("in", i, m.check(cfg.Broker))
		for k, other := range remote {
			wrong("in", i, twice("in", k, mqttbridge.Overlap(other, m.RemoteFilter())))
		}
		for k := range r.out {
			wrong("in", i, loops(cfg.Version, k, mqttbridge.Overlap(r.out[k].RemoteFilter(), m.RemoteFilter())))
		}
		remote = append(remote, m.RemoteFilter())
		r.in = append(r.in, m)
	}
	for i, filter := range cfg.Discover {
		wrong("discover", i, mqttbridge.Map{Filter: filter}.Check())
		for k, other := range remote {
			if k < len(cfg.In) {
				wrong("discover", i, twice("in", k, mqttbridge.Overlap(other, filter)))
			} else {
				wrong("discover", i, twice("discover", k-len(cfg.In), mqttbridge.Overlap(other, filter)))
			}
		}
		remote = append(remote, filter)
	}
	return r, bad
}

// errKept is about brokers that take a QoS 2 message for a duplicate because they still keep its
// packet id from an earlier connection, as MQTT requires.
var errKept = errors.New("with session-expiry, a broker may drop a QoS 2 message as a duplicate from an earlier connection: use qos = 1, which is as reliable, or leave session-expiry out")

func twice(list string, i int, overlap bool) error {
	if !overlap {
		return nil
	}
	return fmt.Errorf("the topics overlap with %s[%d]: a message would arrive twice", list, i)
}

// loops returns an error for topics that would go out, come in again and be taken for new messages.
func loops(version string, out int, overlap bool) error {
	if !overlap || version != "3.1.1" {
		return nil
	}
	return fmt.Errorf("messages of out[%d] would come in again: set version = \"5\", with which the broker does not send them back, or another remote-prefix", out)
}

func (r *outRoute) check(broker string) error {
	if err := r.Map.Check(); err != nil {
		return err
	}
	if strings.HasPrefix(r.RemoteFilter(), "$") {
		return fmt.Errorf("%q matches topics of the external broker itself", r.RemoteFilter())
	}
	if r.ours() {
		return nil
	}
	if err := mqtt.CheckForeign(r.LocalFilter()); err != nil {
		return err
	}
	if broker == "" {
		return errors.New("broker is missing: topics of clients are received through a broker of this gateway")
	}
	return nil
}

func (r *inRoute) check(broker string) error {
	if err := r.Map.Check(); err != nil {
		return err
	}
	if broker == "" {
		return errors.New("broker is missing: name the mqtt-broker of this gateway to publish these messages")
	}
	return mqtt.CheckForeign(r.LocalFilter())
}
