package mqttbroker_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

type still struct{}

func (still) Receive(*actors.Context, any) error { return nil }

// An actor that joins the tree is in the catalogue, and so is its kind; an actor that leaves is
// removed, also for later subscribers.
func TestCatalogueLives(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	of := func(name string) actors.Kind {
		return actors.Define(actors.Kind{Name: name, Doc: "stands there"}, func(*structpb.Struct) actors.Actor { return still{} })
	}
	spy := subscribed(t, addr, "-V", "5", "-i", "spy", "-t", "state/catalogue/#", "-F", "%r %t %l")
	until := func(p *program, want ...string) (seen []string) {
		t.Helper()
		for line := heard(p); ; line = heard(p) {
			seen = append(seen, line)
			for i, w := range want {
				if strings.HasPrefix(line, w) && (!strings.HasSuffix(w, " 0") || line == w) {
					want = append(want[:i:i], want[i+1:]...)
					break
				}
			}
			if len(want) == 0 {
				return seen
			}
		}
	}
	until(spy, "1 state/catalogue/edge/broker ", "1 state/catalogue/Kind/mqtt-broker ", "1 state/catalogue/Kind/mqtt-broker/descriptors ")
	a := r.Start("field/a", of("stone"), &structpb.Struct{})
	b := r.Start("field/b", of("stone"), &structpb.Struct{})
	until(spy, "0 state/catalogue/field/a ", "0 state/catalogue/field/b ", "0 state/catalogue ", "0 state/catalogue/Kind/stone ", "0 state/catalogue/Kind/stone/descriptors ")
	remove := func(cell *actors.Cell) {
		r.Stop(cell)
		cell.Remove()
	}
	remove(a)
	for _, line := range until(spy, "0 state/catalogue/field/a 0", "0 state/catalogue ") {
		if strings.Contains(line, "Kind/stone") {
			t.Errorf("there is one left: %s", line)
		}
	}
	remove(b)
	until(spy, "0 state/catalogue/field/b 0", "0 state/catalogue/Kind/stone 0", "0 state/catalogue/Kind/stone/descriptors 0")
	late := subscribed(t, addr, "-V", "311", "-i", "late", "-t", "state/catalogue/#", "-F", "%r %t %l")
	for _, line := range until(late, "1 state/catalogue ", "1 state/catalogue/Kind/mqtt-session ", "1 state/catalogue/edge/broker/session-") {
		if strings.Contains(line, "field/") || strings.Contains(line, "stone") {
			t.Errorf("it has gone: %s", line)
		}
	}
}
