package modbusserver_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// A changed map of points takes effect without disconnecting masters. Known values of a point stay
// known.
func TestAnotherMapKeepsTheMasters(t *testing.T) {
	r := actorstest.New(t)
	owner(r, "plc", func(c *actors.Context, _ *modbusv1.WritePointRequest) { c.Reply(&modbusv1.WritePointResponse{}) })
	port := freeport.Port(t)
	cell := begin(t, r, &modbusv1.Server{
		Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}},
		Points: []*modbusv1.ServedPoint{{From: "plc", Point: "a", Address: 0, Writable: true}, {From: "plc", Point: "b", Address: 1}},
	})
	l := client(t, port)
	say(t, r, "plc", number("a", 11), number("b", 22), number("c", 33))
	r.Until("shown", func() bool { return exception(t, l, holding(0, 2)) == 0 })

	next := proto.CloneOf(cell.Config().(*modbusv1.Server))
	next.Points = []*modbusv1.ServedPoint{
		{From: "plc", Point: "b", Area: "holding", Address: 100, Type: "float32", Writable: true},
		{From: "plc", Point: "c", Area: "holding", Address: 102},
	}
	cell.Reconfigure(next)
	r.Until("the other map is shown", func() bool { return exception(t, l, holding(0, 1)) == modbus.IllegalAddress })
	a, err := l.Do(t.Context(), holding(100, 2))
	if err != nil || a.Register(0) != 0x41b0 {
		t.Errorf("read %v %v, want 22.0", a.Data, err)
	}
	if code := exception(t, l, holding(102, 1)); code != modbus.DeviceFailure {
		t.Errorf("a point of which nothing was heard: exception %d", code)
	}
	say(t, r, "plc", number("c", 44))
	r.Until("the new point comes", func() bool { return exception(t, l, holding(102, 1)) == 0 })
	m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
	if err != nil || m.Accepted != 1 {
		t.Errorf("%v %v: the master had to connect again", m, err)
	}
}
