package modbusgateway

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// route describes where a unit is.
type route struct {
	to      string // path of a modbus-unit; empty: link and unit are used
	link    string
	unit    uint8  // its address behind link
	name    string // name of the unit in rules and audits
	mode    string
	cache   time.Duration
	timeout time.Duration
	rest    time.Duration // pause after each transaction
	write   time.Duration // pause after a write
}

// restAfter returns the pause that the unit needs after r.
func (t *route) restAfter(r modbus.Request) time.Duration {
	if r.Write() {
		return max(t.rest, t.write)
	}
	return t.rest
}

// Modes of a route: what masters may do.
const (
	readWrite = "read-write"
	readOnly  = "read-only"
	swallow   = "swallow"
	deny      = "deny"
)

// routes is indexed by the unit address that masters use; nil: no route.
type routes [256]*route

// routesOf returns the table of the valid routes, and the errors of the others.
func routesOf(all []*modbusv1.Route) (table *routes, wrong []schemas.Violation) {
	table = &routes{}
	where := [256]int{} // index in all of the route of each unit
	for i, r := range all {
		key := fmt.Sprintf("routes[%d]", i)
		first, last, there, err := spanOf(r)
		if err != nil {
			wrong = append(wrong, schemas.Wrong(key, err)...)
			continue
		}
		if u := table.taken(first, last); u >= 0 {
			wrong = append(wrong, schemas.Violation{Field: key, Other: fmt.Sprintf("routes[%d]", where[u]),
				Message: fmt.Sprintf("unit %d has two routes, to %s and to %s", u, cmp.Or(table[u].to, table[u].link), cmp.Or(r.To, r.Link))})
			continue
		}
		for u := first; u <= last; u++ {
			where[u] = i
			table[u] = &route{
				to: r.To, link: r.Link, unit: uint8(there + u - first), mode: r.Mode, name: cmp.Or(r.To, fmt.Sprintf("%s/%d", r.Link, there+u-first)),
				cache: r.Cache.AsDuration(), timeout: r.Timeout.AsDuration(), rest: r.Rest.AsDuration(), write: r.RestAfterWrite.AsDuration(),
			}
		}
	}
	return table, wrong
}

// spanOf returns the units of a route, first to last, and the address of the first one behind the
// link.
func spanOf(r *modbusv1.Route) (first, last, there uint32, err error) {
	first, last, there = r.First, r.First, r.First
	if r.Last != nil {
		last = *r.Last
	}
	if r.Unit != nil {
		there = *r.Unit
	}
	switch {
	case (r.Link == "") == (r.To == ""):
		err = fmt.Errorf("route of unit %d: set either link or to", first)
	case r.To != "" && (last != first || first == 0 || r.Unit != nil):
		err = fmt.Errorf("route to %s: to is for a single unit with its own address: set first from 1 to 255, and neither last nor unit", r.To)
	case r.To != "" && r.Mode != "" && r.Mode != readWrite:
		err = fmt.Errorf("route to %s: mode = %q is not allowed with to: the firewall of the unit decides what masters may do", r.To, r.Mode)
	case r.To != "" && (r.Cache.AsDuration() > 0 || r.Rest.AsDuration() > 0 || r.RestAfterWrite.AsDuration() > 0):
		err = fmt.Errorf("route to %s: cache, rest and rest-after-write are not allowed with to", r.To)
	case last < first:
		err = fmt.Errorf("route to %s: last = %d is before first = %d", r.Link, last, first)
	case there+last-first > 255:
		err = fmt.Errorf("route to %s: units %d to %d would have the addresses %d to %d there, but the highest address is 255", r.Link, first, last, there, there+last-first)
	case first == 0 && last > 0:
		err = fmt.Errorf("route to %s: unit 0 is the broadcast address: give it a separate route", r.Link)
	}
	return first, last, there, err
}

// taken returns a unit from first to last that already has a route, or -1.
func (t *routes) taken(first, last uint32) int {
	for u := first; u <= last; u++ {
		if t[u] != nil {
			return int(u)
		}
	}
	return -1
}

// leadTo reports whether any route leads to a link.
func (t *routes) leadTo(link string) bool {
	return slices.ContainsFunc(t[:], func(r *route) bool { return r != nil && r.link == link })
}

// handler handles the requests of masters, in the goroutines of their connections, and hands those
// that are to be forwarded to the actor.
type handler struct {
	routes   *routes
	counts   *share.Counts
	refusals *modbusdoor.Refusals
	post     func(msg any) error
}

// asked is a request to be forwarded to a unit.
type asked struct {
	route   *route
	request modbus.Request // as sent to the unit
	waiter  waiter
	master  *server.Master
}

// waiter is a request of a master, or of the firewall gate, that waits for an answer.
type waiter struct {
	later   *server.Deferred
	request modbus.Request  // the request to which the answer must fit
	then    modbusdoor.Then // takes the answer for the gate; nil: the answer goes to the master
}

// Handle implements server.Handler.
func (e *handler) Handle(dst []byte, q *server.Query) []byte {
	r := e.routes[q.Unit]
	switch {
	case r == nil:
		e.counts.Unrouted.Add(1)
		if q.Line() {
			return dst // addressed to another device on the line
		}
		return modbus.AppendException(dst, q.PDU[0], modbus.GatewayPath)
	case r.mode == deny, r.mode == readOnly && q.Write():
		e.counts.Forbidden.Add(1)
		if q.Refused == nil {
			e.refusals.Add(q, r.name, "denied", "the mode of the route is "+r.mode)
		}
		return modbus.AppendException(dst, q.PDU[0], modbus.IllegalFunction)
	case q.Refused != nil:
		return modbus.AppendException(dst, q.PDU[0], q.Refused.Code)
	}
	return e.forward(dst, q, r)
}

// forward hands a request to the actor, unless the mode of the route swallows it.
func (e *handler) forward(dst []byte, q *server.Query, r *route) []byte {
	forward := q.Request
	if r.mode == swallow && q.Write() {
		e.counts.Swallowed.Add(1)
		e.refusals.Add(q, r.name, "swallowed", "")
		if q.Function != modbus.ReadWriteMultipleRegisters {
			return respond(dst, q.Request, modbus.Response{})
		}
		forward = modbus.Request{Function: modbus.ReadHoldingRegisters, Address: q.Address, Quantity: q.Quantity}
	}
	forward.Unit, forward.Timeout = r.unit, r.timeout
	later := q.Defer()
	if e.post(&asked{route: r, request: forward, waiter: waiter{later: later, request: q.Request}, master: q.Master()}) != nil {
		e.counts.Busy.Add(1)
		e.refusals.Add(q, r.name, "failed", "too many requests are waiting")
		later.Refuse(modbus.DeviceBusy)
	}
	return dst
}

// respond appends the PDU that answers a request with the response of a unit.
func respond(dst []byte, r modbus.Request, a modbus.Response) []byte {
	pdu, err := modbus.AppendResponse(dst, r, a)
	if err != nil {
		return modbus.AppendException(dst, r.Function, modbus.GatewayTarget) // the response does not fit the request
	}
	return pdu
}
