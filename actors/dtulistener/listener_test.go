package dtulistener_test

import (
	"net"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/dtulink"
	"gatewayd/actors/dtulistener"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/freeport"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

func TestManners(t *testing.T) {
	actorstest.Conform(t, dtulistener.Kind, &modbusv1.DtuListener{Listen: freeport.Address(t)}, dtulink.Kind, modbusunit.Kind)
}

func TestWhatCannotBeIsBroken(t *testing.T) {
	for want, cfg := range map[string]*modbusv1.DtuListener{
		"insecure = true": {Listen: "0.0.0.0:0"},
		"prefix":          {Listen: "127.0.0.1:0", Prefix: "0xzz"},
		"heartbeats":      {Listen: "127.0.0.1:0", Heartbeats: []string{""}},
	} {
		r := actorstest.New(t).Once()
		r.Start("dtus", dtulistener.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("level %d: %v", f.Level, f)
		}
	}
}

func TestStrangersAreTold(t *testing.T) {
	at := freeport.Address(t)
	r := actorstest.New(t)
	refused := actorstest.Watch(r, "event/dtus/refused", &modbusv1.DtuRefused{})
	cell := r.Start("dtus", dtulistener.Kind, &modbusv1.DtuListener{Listen: at})
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("\x01\x02who"))
	e := actorstest.Next(t, refused)
	if e.Address != c.LocalAddr().String() || e.Sent != "0x010277686f" || e.Why != "no dtu-link has this registration" {
		t.Error(e)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("it was let in")
	}
	resp, err := actorstest.Call(r, "dtus", "Callers", &modbusv1.CallersRequest{}, &modbusv1.CallersResponse{})
	if err != nil || resp.Refused != 1 || len(resp.Callers) > 0 {
		t.Error(resp, err)
	}
}
