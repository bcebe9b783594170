package modbusdoor

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// gathering is how long further refusals are collected after some were published.
const gathering = time.Second

// Refusals publishes audit events of writes that were refused at the door. There is at most one
// event per second for each kind of refusal, however many there are. The zero value publishes
// nothing.
type Refusals struct {
	digest share.Digest[refusal, modbus.Request]
	post   func(msg any) error
}

// refusal is a kind of refusal: equal ones share an event.
type refusal struct {
	master, unit   string
	function       uint8
	outcome, cause string
}

// look is the message to publish what was collected.
type look struct{}

// Add notes a request of a master if it is a write. It may be called by any goroutine and never
// blocks.
func (r *Refusals) Add(q *server.Query, unit, outcome, cause string) {
	if r.post == nil || !q.Write() {
		return
	}
	k := refusal{q.Master().Name(), unit, q.Function, outcome, cause}
	if r.digest.Add(k, q.Request) && r.post(look{}) != nil {
		r.digest.Asleep()
	}
}

// tell publishes what was collected. If there was anything, it schedules the next look.
func (r *Refusals) tell(c *actors.Context) {
	told := r.digest.Take()
	for k, t := range told {
		m := audited(actors.Caller{Identity: "master/" + k.master}, t.Last)
		if k == (refusal{}) { // those beyond the number of kinds that are told apart
			m = &modbusv1.Audited{Caller: "master/*", Outcome: "denied", Cause: "too many masters and units to list them one by one"}
		} else {
			m.Unit, m.Outcome, m.Cause = k.unit, k.outcome, k.cause
		}
		m.More, m.Time, m.Took = uint32(t.Count-1), timestamppb.Now(), durationpb.New(0)
		c.Event("audited", m)
	}
	if len(told) > 0 {
		c.After(gathering, look{})
	}
}
