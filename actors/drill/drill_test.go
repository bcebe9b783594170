package drill_test

import (
	"google.golang.org/protobuf/proto"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/drill"
	"gatewayd/bus"
	drillv1 "gatewayd/schemas/drill/v1"
)

func TestConforms(t *testing.T) {
	actorstest.Conform(t, drill.Kind, &drillv1.Drill{Armed: true})
}

var unplug = &drillv1.InjectRequest{Path: "field/line", Fault: "unplug", Rate: proto.Float64(1)}

// tree acts as the root and returns its requests.
func tree(r *actorstest.Rig) <-chan any {
	asked := make(chan any, 8)
	r.Peer("root", func(msg any) any {
		asked <- msg
		switch m := msg.(type) {
		case *drillv1.InjectRequest:
			if m.Path == "nowhere" {
				return bus.Errorf(bus.NotFound, "no actor has the path %q", m.Path)
			}
			return &drillv1.InjectResponse{}
		default:
			return &drillv1.ClearResponse{}
		}
	})
	return asked
}

func TestRefusesUnlessArmed(t *testing.T) {
	r := actorstest.New(t)
	asked := tree(r)
	cell := r.Start("drill", drill.Kind, &drillv1.Drill{})
	_, err := actorstest.Call(r, "drill", "Inject", unplug, &drillv1.InjectResponse{})
	if err == nil || !strings.Contains(err.Error(), "drills are not armed: the config needs a table [drill]") ||
		bus.AsError(err).Code != bus.FailedPrecondition {
		t.Errorf("answered %v", err)
	}
	if len(asked) > 0 {
		t.Error("the root was asked")
	}
	if _, err := actorstest.Call(r, "drill", "Clear", &drillv1.ClearRequest{}, &drillv1.ClearResponse{}); err != nil {
		t.Errorf("clear when not armed: %v", err)
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
}

func TestInjects(t *testing.T) {
	r := actorstest.New(t)
	asked := tree(r)
	events := actorstest.Watch(r, "event/drill/injected", &drillv1.Injected{})
	r.Start("drill", drill.Kind, &drillv1.Drill{Armed: true})
	if _, err := actorstest.Call(r, "drill", "Inject", unplug, &drillv1.InjectResponse{}); err != nil {
		t.Fatal(err)
	}
	if m, ok := actorstest.Next(t, asked).(*drillv1.InjectRequest); !ok || m.Path != "field/line" {
		t.Errorf("the root was asked %v", m)
	}
	if e := actorstest.Next(t, events); e.Fault.GetFault() != "unplug" {
		t.Errorf("event %v", e)
	}
	lost := &drillv1.InjectRequest{Path: "nowhere", Fault: "kill"}
	_, err := actorstest.Call(r, "drill", "Inject", lost, &drillv1.InjectResponse{})
	if err == nil || bus.AsError(err).Code != bus.NotFound {
		t.Errorf("a fault for nobody is answered with %v", err)
	}
	if len(events) > 0 {
		t.Error("an event tells of a fault that is not in")
	}
}

func TestDisarmingClears(t *testing.T) {
	r := actorstest.New(t)
	asked := tree(r)
	cell := r.Start("drill", drill.Kind, &drillv1.Drill{Armed: true})
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	cell.Reconfigure(&drillv1.Drill{})
	if _, ok := actorstest.Next(t, asked).(*drillv1.ClearRequest); !ok {
		t.Error("the faults stay in")
	}
	if _, err := actorstest.Call(r, "drill", "Inject", unplug, &drillv1.InjectResponse{}); err == nil {
		t.Error("still armed")
	}
	if cell.Life() != 1 {
		t.Error("it took a new life to disarm")
	}
}

func TestNoRoot(t *testing.T) {
	r := actorstest.New(t)
	r.Start("drill", drill.Kind, &drillv1.Drill{Armed: true})
	if _, err := actorstest.Call(r, "drill", "Inject", unplug, &drillv1.InjectResponse{}); err == nil {
		t.Error("injected without a root")
	}
}
