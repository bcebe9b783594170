package natssend_test

import (
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/natssend"
	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/uplink"
)

// A server named by an SRV record gets the records, although another target is down.
func TestServerByDNS(t *testing.T) {
	ctx, hub, js := hub(t)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "SITES", Subjects: []string{"sites.>"}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(hub.Addr().String())
	cfg := natssend.Config{
		URLs: []string{"nats+srv://_gone._tcp.example.com", "nats+srv://_nats._tcp.example.com"}, Form: webhook(t, "sites.${gateway}"), Who: shape.Origin{Gateway: "g"},
		Resolver: srvtest.Run(t, "_nats._tcp.example.com", "1", port),
	}
	s, err := cfg.Dial(ctx, uplink.Callbacks{Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Send(ctx, []record.Record{{Track: "tracks/a", Sequence: 1, Fields: []record.Field{{Name: "x", Value: 1.5}}}}); err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(ctx); err != nil || info.State.Msgs != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	cfg.URLs = cfg.URLs[:1]
	if _, err := cfg.Dial(ctx, uplink.Callbacks{}); err == nil {
		t.Error("it has reached nobody")
	}
}

// The reason for a failed connection names the server and what to correct.
func TestWhyThereIsNoConnection(t *testing.T) {
	hub := serve(t, server.Options{Username: "anna", Password: "right"})
	there, gone := hub.Addr().String(), freeport.Address(t)
	for url, want := range map[string]string{
		"nats://" + gone:  "dial tcp " + gone + ": connect: connection refused",
		"nats://" + there: "server " + there + ": nats: Authorization Violation",
		"tls://" + there:  "server " + there + " does not use TLS: write nats:// instead of tls:// in urls",
	} {
		_, err := natssend.Config{URLs: []string{url}, Form: webhook(t, "sites.${gateway}"), Who: shape.Origin{Gateway: "g"}, Username: "anna", Password: "wrong"}.Dial(t.Context(), uplink.Callbacks{Lost: func(error) {}})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}
