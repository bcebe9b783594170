package modbusgateway_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusgateway"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Changed routes take effect without disconnecting masters, and requests under way end as they
// began.
func TestOtherRoutesKeepTheMasters(t *testing.T) {
	r := actorstest.New(t)
	d := device(7, 0)
	plc(t, r, d, device(8, 8000))
	rs485(t, r, device(7, 7000))
	near, far := freeport.Port(t), freeport.Port(t)
	cfg := &modbusv1.Gateway{
		Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + near}, {Listen: "127.0.0.1:" + far}},
		Routes: []*modbusv1.Route{{First: 1, Link: linkPath, Unit: unit(7), Cache: ms(60000), Timeout: ms(10000)}},
	}
	cell := r.Start(path, modbusgateway.Kind, cfg)
	r.Until("listening", func() bool { return cell.State() == actors.OK })
	l, gone := master(t, near, modbus.TCP), master(t, far, modbus.TCP)
	expect(t, l, read(1, 1, 1), 0, 1)
	expect(t, gone, read(1, 1, 1), 0, 1)

	asked, release := make(chan struct{}), make(chan struct{})
	d.Changed(func(sim.Table, uint16, []uint16) { close(asked); <-release })
	slow := master(t, near, modbus.TCP)
	wrote := make(chan struct{})
	go func() { defer close(wrote); expect(t, slow, write(1, 50, 5), 0, 0) }()
	<-asked

	next := proto.CloneOf(cell.Config().(*modbusv1.Gateway))
	next.Tcp = next.Tcp[:1]
	next.Routes = []*modbusv1.Route{{First: 1, Link: linePath, Unit: unit(7), Timeout: ms(10000)}, {First: 2, Link: linkPath, Unit: unit(8), Timeout: ms(10000)}}
	cell.Reconfigure(next)
	closed := func() bool {
		m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
		return err == nil && len(m.Masters) == 2
	}
	r.Until("the other door is closed", closed)
	expect(t, l, read(1, 1, 1), 0, 7001) // not from the cache of the previous unit
	close(release)
	<-wrote
	expect(t, l, read(2, 1, 1), 0, 8001)
	if v, _ := d.Get(sim.HoldingRegisters, 50, 1); v[0] != 5 {
		t.Error("a write that was under way was lost")
	}
	if _, err := gone.Do(t.Context(), read(1, 1, 1)); !modbus.LinkLost(err) {
		t.Errorf("the master of a door that is closed: %v", err)
	}
	if m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{}); err != nil || m.Accepted != 3 {
		t.Errorf("%v %v: masters had to connect again", m, err)
	}
}
