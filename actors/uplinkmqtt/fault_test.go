package uplinkmqtt_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmqtt"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient/mosquitto"
	tlsv1 "gatewayd/schemas/tls/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// With MQTT 5 a broker refuses a message that is too large; with 3.1.1 it can only close the
// connection.
func TestFaults311(t *testing.T) { faults(t, "3.1.1", "max_packet_size 20000") }
func TestFaults5(t *testing.T)   { faults(t, "5", "message_size_limit 20000") }

func faults(t *testing.T, version, broker string) {
	uplinktest.Faults(t, uplinkmqtt.Kind, func(t *testing.T) uplinktest.Far {
		address := mosquitto.Run(t, broker)
		in := listen(t, address, "gatewayd/#")
		return uplinktest.Far{
			Address: address,
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				cfg := config(address)
				if cfg.Version = version; files != nil {
					cfg.Url, cfg.Tls = "ssl://"+address, files
				}
				return cfg
			},
			Got: func() []uplinktest.Item { return in.items(t) },
		}
	})
}

// items returns the fields of the records in all messages of shape plain.
func (in *inbox) items(t *testing.T) (all []uplinktest.Item) {
	for _, m := range in.messages() {
		var records []struct {
			Track  string
			Fields map[string]any
		}
		if err := json.Unmarshal(m.Payload, &records); err != nil {
			t.Fatalf("%v: %q", err, m.Payload)
		}
		for _, r := range records {
			for _, v := range r.Fields {
				all = append(all, uplinktest.Item{Track: r.Track, Value: v})
			}
		}
	}
	return all
}

// accounted waits until all records have reached the broker, and checks that they are in order.
func accounted(t *testing.T, r *actorstest.Rig, in *inbox, n uint64) {
	t.Helper()
	r.Until("all is there", func() bool { return len(in.sequences(t)) >= int(n) })
	if got := in.sequences(t); !slices.Equal(got, uplinktest.UpTo(n)) {
		t.Errorf("of %d there are %v", n, got)
	}
}

// A link of a few kilobytes a second, like CAT-M at the edge of its cell, gets small batches with
// the high-priority fields in few digits, and all of that arrives.
func TestASlowLink(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	r, in := actorstest.New(t), listen(t, address, "gatewayd/#")
	cfg := config(throttled(t, address, 8000))
	decimals := int32(0)
	cfg.Send.Slow, cfg.Send.Crawl, cfg.Send.Timeout = 50_000, 100, durationpb.New(30*time.Second)
	cfg.Send.Rules = []*uplinkv1.Rule{{Fields: []string{"power"}, SlowPrecision: &decimals}}
	cell := r.Start(path, uplinkmqtt.Kind, cfg)
	const n = 400
	write(t, r, 1, n)
	accounted(t, r, in, n)
	s := uplinktest.Status(t, r, path)
	last := in.messages()[len(in.messages())-1]
	if !s.Slow || s.Crawls || s.Goodput > 50_000 || !strings.Contains(string(last.Payload), `"power":2}`) || cell.Life() != 1 {
		t.Errorf("life %d, goodput %.0f B/s, slow %v, %.200s", cell.Life(), s.Goodput, s.Slow, last.Payload)
	}
	if all := in.messages(); len(all) < 4 {
		t.Errorf("%d batches, the last of %d", len(all), strings.Count(string(last.Payload), `"sequence"`))
	}
}

// throttled returns the address of a link that carries perSecond bytes per second.
func throttled(t *testing.T, to string, perSecond int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			_ = near.(*net.TCPConn).SetReadBuffer(2048)
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
			go func() {
				defer far.Close()
				for buf := make([]byte, perSecond/20); ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
					n, err := near.Read(buf)
					if err != nil {
						return
					}
					if _, err := far.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
