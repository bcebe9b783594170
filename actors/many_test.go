package actors_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
)

// Two thousand actors are spawned, fail and live on, on 32-bit machines as well, where protoactor
// used to panic for half of all names.
func TestThousandsOfActors(t *testing.T) {
	const n = 2000
	r, _ := actorstest.NewVirtual(t) // not in virtual time, only without a real bus
	var second atomic.Int32
	k := scripted(func(c *actors.Context, msg any) error {
		switch msg.(type) {
		case actors.Started:
			if c.Life() == 2 {
				second.Add(1)
			}
		case do:
			return errTest
		case tick:
			c.Reply(result{int(c.Life())})
		}
		return nil
	})
	for i := range n {
		r.Start(fmt.Sprintf("field/line-%d/meter-%d", i%20, i), k, &structpb.Struct{})
	}
	for _, p := range r.System.Paths() {
		r.System.Ask(p, do{}, func(any, error) {})
	}
	r.Until("all live again", func() bool { return second.Load() == n })
	var answered atomic.Int32
	for _, p := range r.System.Paths() {
		r.System.Ask(p, tick{}, func(msg any, err error) {
			if err == nil && msg == (result{2}) {
				answered.Add(1)
			}
		})
	}
	r.Until("all answer", func() bool { return answered.Load() == n })
}
