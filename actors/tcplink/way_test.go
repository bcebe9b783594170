package tcplink_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestWhatDoesNotGoTogetherIsBroken(t *testing.T) {
	tls := &modbusv1.LinkTls{CertFile: "a", KeyFile: "b", CaFile: "c"}
	for want, cfg := range map[string]*modbusv1.TcpLink{
		`not "ascii"`:              {Address: "127.0.0.1", Transport: "udp", Framing: "ascii"},
		`needs transport = "tcp"`:  {Address: "127.0.0.1", Transport: "udp", Tls: tls},
		`(Modbus/TCP Security), n`: {Address: "127.0.0.1", Framing: "rtu", Tls: tls},
	} {
		r := actorstest.New(t).Once()
		r.Start("plc", tcplink.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("level %d: %v", f.Level, f)
		}
	}
}

func TestMissingCertificateIsHealth(t *testing.T) {
	r := actorstest.New(t)
	states := actorstest.Watch(r, "state/+/link", &modbusv1.LinkState{})
	r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1", Tls: &modbusv1.LinkTls{CertFile: "/no/a.pem", KeyFile: "/no/a.key", CaFile: "/no/ca.pem"}})
	if s := actorstest.Next(t, states); s.Up || s.Target != "127.0.0.1:802" || !strings.Contains(s.Cause, "cert-file /no/a.pem") {
		t.Error(s)
	}
}

// ask sends one read through the link, as a unit does.
func ask(t *testing.T, r *actorstest.Rig, path string) dispatch.Result {
	t.Helper()
	answers := make(chan dispatch.Result, 1)
	r.System.Ask(path, &dispatch.Ask{
		Requests: []modbus.Request{{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 1, Quantity: 1}}, Timeouts: []time.Duration{time.Second},
	}, func(msg any, err error) {
		if err != nil {
			answers <- dispatch.Result{Err: err}
			return
		}
		answers <- msg.(*dispatch.Answer).Results[0]
	})
	return actorstest.Next(t, answers)
}

// A device that is not running refuses datagrams. When it is back, it is used again without any
// action.
func TestUDPRefusalIsHealth(t *testing.T) {
	at := freeport.Address(t)
	r := actorstest.New(t)
	cell := r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{
		Address: at, Transport: "udp", Framing: "rtu", MaxBackoff: durationpb.New(50 * time.Millisecond),
	})
	if res := ask(t, r, "plc"); res.Err == nil || !strings.Contains(res.Err.Error(), "connection refused") {
		t.Error(res.Err)
	}
	r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
	socket, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [512]byte
		for {
			_, from, err := socket.ReadFrom(b[:])
			if err != nil {
				return
			}
			_, _ = socket.WriteTo(modbus.AppendFrame(nil, modbus.RTUOverTCP, 0, 7, []byte{3, 2, 0, 1}), from)
		}
	}()
	defer func() { _ = socket.Close(); <-done }()
	r.Until("an answer", func() bool { res := ask(t, r, "plc"); return res.Err == nil && res.Register(0) == 1 })
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	if s, err := actorstest.Call(r, "plc", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{}); err != nil || s.Opened > 40 {
		t.Error(s, err) // it must not reconnect in a tight loop
	}
}
