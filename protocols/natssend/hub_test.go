package natssend_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/shape"
)

// serve runs a server on loopback.
func serve(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoLog, o.NoSigs = "127.0.0.1", -1, true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// hub is a server with JetStream, and a client of it.
func hub(t *testing.T) (ctx context.Context, s *server.Server, js jetstream.JetStream) {
	t.Helper()
	s = serve(t, server.Options{JetStream: true, StoreDir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return ctx, s, js
}

// webhook returns a form of JSON documents for a subject.
func webhook(t *testing.T, subject string) shape.Form {
	t.Helper()
	form, err := shape.Named("webhook")
	if err != nil {
		t.Fatal(err)
	}
	form.Topic, form.Between = subject, ""
	return form
}
