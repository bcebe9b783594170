package edge_test

import (
	"net"
	"testing"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/edge"
	"gatewayd/protocols/srv/srvtest"
)

// A node finds its server by an SRV record although the first target is down, and continues at its
// second server when the first is gone.
func TestServersByDNS(t *testing.T) {
	const service = "_sparkplug._tcp.example.com"
	s := newSite(t, 2, "", func(c *edge.Config) {
		_, port, _ := net.SplitHostPort(c.Servers[0].URL[len("tcp://"):])
		c.Servers[0].URL, c.Servers[0].Resolver = "tcp+srv://"+service, srvtest.Run(t, service, "1", port)
	})
	x := s.dial()
	if err := x.Send(patient(t), []record.Record{one("tracks/meter", 1, time.Now(), "on", true)}); err != nil {
		t.Fatal(err)
	}
	s.until("data", func(all []told) bool { return count(all, sparkplug.DDATA) == 1 })
	_ = x.Close()
	s.shared.Rest()
	s.taps[0].Refuse(true)
	x = s.dial()
	if err := x.Send(patient(t), []record.Record{one("tracks/meter", 2, time.Now(), "on", false)}); err != nil {
		t.Fatal(err)
	}
	s.until("data at the other one", func(all []told) bool { return count(all, sparkplug.DDATA) == 2 })
	s.stopping(true)
	_ = x.Close()
	s.fine()
}
