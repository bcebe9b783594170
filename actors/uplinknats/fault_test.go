package uplinknats_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinknats"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinknats.Kind, func(t *testing.T) uplinktest.Far {
		s, _ := hub(t, t.TempDir(), -1)
		st := stream(t, s)
		return uplinktest.Far{
			Address: s.Addr().String(),
			Once:    true, // the stream drops duplicates by message id
			Greet:   greet,
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				cfg := config(s)
				if cfg.Urls = []string{"nats://" + address}; files != nil {
					cfg.Urls, cfg.Tls = []string{"tls://" + address}, files
				}
				return cfg
			},
			Got: func() []uplinktest.Item { return items(t, st) },
		}
	})
}

// greet forwards the first message of the server, changed so that it requires TLS.
func greet(near, far net.Conn) error {
	info, err := bufio.NewReaderSize(far, 1<<16).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = near.Write([]byte(strings.Replace(info, "{", `{"tls_required":true,`, 1)))
	return err
}

// items returns the fields of the records in a stream.
func items(t *testing.T, st jetstream.Stream) (all []uplinktest.Item) {
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	for i := range count(t, st) {
		m, err := st.GetMsg(ctx, i+1)
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Track  string
			Fields map[string]any
		}
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Fatalf("%v: %s", err, m.Data)
		}
		for _, v := range r.Fields {
			all = append(all, uplinktest.Item{Track: r.Track, Value: v})
		}
	}
	return all
}
