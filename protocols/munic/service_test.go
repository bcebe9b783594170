package munic

import (
	"net"
	"testing"

	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/uplink"
)

// The broker of a platform named by an SRV record gets the events, although the first target is
// down.
func TestBrokerByDNS(t *testing.T) {
	const service = "_munic._tcp.example.com"
	address := mosquitto.Run(t)
	_, port, _ := net.SplitHostPort(address)
	p := newPlatform(t, "tcp://"+address)
	cfg := config("tcp+srv://" + service)
	cfg.Broker.Resolver = srvtest.Run(t, service, "1", port)
	x := dial(t, NewSession(cfg), uplink.Callbacks{})
	if all := p.next(t, "presence"); len(all) != 1 || all[0]["type"] != "connect" {
		t.Errorf("%v", all)
	}
	if err := x.Send(soon(t), []record.Record{rec(1, record.Field{Name: "n", Value: int64(1)})}); err != nil {
		t.Fatal(err)
	}
	if all := p.next(t, "track"); len(all) != 1 || all[0]["index"] != 1.0 {
		t.Errorf("%v", all)
	}
}
