package tr50

import (
	"net"
	"slices"
	"strings"
	"testing"

	"gatewayd/protocols/record"
	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/uplink"
)

// A server named by an SRV record gets the records although the first target is down, also after a
// lost connection.
func TestServerByDNS(t *testing.T) {
	server, s := rig(t)
	const service = "_tr50._tcp.example.com"
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.cfg.Broker.URL, "tcp://"))
	s.cfg.Broker.URL, s.cfg.Broker.Resolver = "tcp+srv://"+service, srvtest.Run(t, service, "1", port)
	for i, want := range [][]string{{"property meter.n=1"}, {"property meter.n=1", "property meter.n=2"}} {
		x := dial(t, s, uplink.Callbacks{})
		if err := x.Send(soon(t), []record.Record{rec(i+1, record.Field{Name: "n", Value: int64(i + 1)})}); err != nil {
			t.Fatal(err)
		}
		if got := texts(server.Got()); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		_ = x.Close()
	}
}
