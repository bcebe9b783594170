package modbusgateway_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// The units of a route get the configured pauses: one after each transaction, a longer one after a
// write.
func TestUnitsOfARouteRest(t *testing.T) {
	for name, x := range map[string]struct{ rest, after, read, write int }{
		"none":                     {0, 0, 0, 0},
		"after each transaction":   {50, 0, 50, 50},
		"after a write":            {0, 700, 0, 700},
		"the longer after a write": {50, 10, 50, 50},
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			rests := make(chan time.Duration, 10)
			r.Peer(linkPath, func(msg any) any {
				ask := msg.(*dispatch.Ask)
				rests <- ask.Rest
				a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, 1)}
				if !ask.Requests[0].Write() {
					a.Results[0].Data = make([]byte, 2)
				}
				return a
			})
			l := master(t, begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{{First: 7, Link: linkPath, Rest: ms(x.rest), RestAfterWrite: ms(x.after)}}}), modbus.TCP)
			for _, ask := range []struct {
				request modbus.Request
				want    *durationpb.Duration
			}{{read(7, 1, 1), ms(x.read)}, {write(7, 1, 5), ms(x.write)}} {
				expect(t, l, ask.request, 0, 0)
				if got := actorstest.Next(t, rests); got != ask.want.AsDuration() {
					t.Errorf("%s after %v, want %s", got, ask.request, ask.want.AsDuration())
				}
			}
		})
	}
}
