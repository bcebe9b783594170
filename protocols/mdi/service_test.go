package mdi

import (
	"net"
	"testing"

	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/uplink"
)

// The receiver is found by its SRV record, past a target where nothing listens.
func TestServiceByDNS(t *testing.T) {
	e := newEnd(t, nil, false)
	_, receiver, _ := net.SplitHostPort(e.address)
	const name = "_mdi._tcp.example.com"
	r := srvtest.Run(t, name, "1", receiver)
	x, err := newSession(patience).Dial(soon(t), Target{Service: name, Resolver: r}, uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Send(soon(t), meterRecords(3)); err != nil {
		t.Fatal(err)
	}
	_ = x.Close()
	e.has(t, 3)
}
