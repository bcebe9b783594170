package bus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/bus"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// outside is a plain nats.go client with a role, as any NATS tool would be.
func outside(t *testing.T, b *bus.Bus, keys, role string, opts ...nats.Option) (*nats.Conn, <-chan error) {
	t.Helper()
	trouble := make(chan error, 64)
	opts = append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { trouble <- err }))
	if role != "" {
		key, err := nats.NkeyOptionFromSeed(filepath.Join(keys, role+".nk"))
		if err != nil {
			t.Fatal(err)
		}
		opts = append(opts, key)
	}
	nc, err := nats.Connect(b.Addr(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, trouble
}

func listening(t *testing.T, change func(*bus.Config)) (*bus.Bus, string) {
	t.Helper()
	keys := t.TempDir()
	b := start(t, func(c *bus.Config) {
		c.Listen, c.KeyDir = "127.0.0.1:0", keys
		if change != nil {
			change(c)
		}
	})
	return b, keys
}

func TestRoles(t *testing.T) {
	b, keys := listening(t, nil)
	cases := []struct {
		name, role     string
		publish, allow []string // publish: denied subjects; allow: allowed ones
		sub, suballow  []string
	}{
		{
			name: "observer", role: bus.Observer,
			publish:  []string{"gw.demo.cmd.a.Restart", "gw.demo.state.a.health", "gw.demo.event.a.healed", "gw.demo.data.a.x", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.CONSUMER.CREATE.STATE", "$JS.API.STREAM.PURGE.EVENTS", "$KV.x.y", "_GW.x", "_INBOX.x", "_OPS.x"},
			allow:    []string{"$SRV.PING", "$SRV.INFO.kind.id", "$JS.API.DIRECT.GET.STATE"},
			sub:      []string{">", "gw.>", "gw.demo.cmd.>", "_OPS.>", "_GW.>", "$KV.>", "$JS.>"},
			suballow: []string{"gw.*.data.>", "gw.*.event.>", "gw.demo.state.a.>", "gw.*.trace.>", "_INBOX.x.>"},
		},
		{
			name: "operator", role: bus.Operator,
			publish:  []string{"gw.demo.state.a.health", "gw.demo.event.a.healed", "gw.demo.data.a.x", "$JS.API.STREAM.DELETE.EVENTS", "$KV.x.y", "_INBOX.x"},
			allow:    []string{"$SRV.PING", "gw.demo.cmd.a.Restart"},
			sub:      []string{">", "gw.demo.cmd.>", "_GW.>", "$KV.>"},
			suballow: []string{"gw.*.data.>", "_INBOX.x.>"},
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			nc, trouble := outside(t, b, keys, tc.role)
			try := func(denied bool, what string, do func() error) {
				t.Helper()
				if err := do(); err != nil {
					t.Fatal(what, err)
				}
				if err := nc.FlushTimeout(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				if err := nc.LastError(); (err != nil) != denied {
					t.Errorf("%s: denied should be %v: %v", what, denied, err)
				}
				if denied {
					receive(t, trouble)
					// A fresh connection, because LastError is not reset.
					nc, trouble = outside(t, b, keys, tc.role)
				}
			}
			for _, s := range tc.publish {
				try(true, "publish "+s, func() error { return nc.Publish(s, nil) })
			}
			for _, s := range tc.allow {
				try(false, "publish "+s, func() error { return nc.Publish(s, nil) })
			}
			for _, s := range tc.sub {
				try(true, "subscribe "+s, func() error { _, err := nc.SubscribeSync(s); return err })
			}
			for _, s := range tc.suballow {
				try(false, "subscribe "+s, func() error { _, err := nc.SubscribeSync(s); return err })
			}
		})
	}
	t.Run("no credentials", func(t *testing.T) {
		if nc, err := nats.Connect(b.Addr()); err == nil {
			nc.Close()
			t.Fatal("connected")
		}
	})
}

func TestAnonymousRole(t *testing.T) {
	b, _ := listening(t, func(c *bus.Config) { c.Anonymous = bus.Observer })
	nc, trouble := outside(t, b, "", "")
	if _, err := nc.SubscribeSync("gw.*.data.>"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("gw.demo.cmd.a.Restart", nil); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, trouble); !strings.Contains(err.Error(), "gw.demo.cmd.a.Restart") {
		t.Fatal(err)
	}
}

// A client that may send a request must not get the answer delivered to a subject where it may not
// publish.
func TestRepliesCannotBecomeCommands(t *testing.T) {
	b, keys := listening(t, nil)
	c := b.Conn()
	reached := make(chan bus.Msg, 16)
	if _, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		if strings.HasSuffix(m.Subject, ".Echo") {
			_ = m.RespondRaw(bus.JSON, m.Data)
			return
		}
		reached <- m
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("gw.demo.state.a.health", wrapperspb.String("ok")); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("gw.demo.event.a.healed", wrapperspb.String("ok")); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	obs, _ := outside(t, b, keys, bus.Observer)
	ops, _ := outside(t, b, keys, bus.Operator)
	for _, reply := range []string{"gw.demo.cmd.radio.Restart", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.EVENTS", "gw.demo.event.a.forged", "gw.demo.state.a.forged"} {
		for stream, req := range map[string]string{
			"STATE":  `{"next_by_subj":"gw.>","batch":10}`,
			"EVENTS": `{"last_by_subj":"gw.demo.event.a.healed"}`,
		} {
			if err := obs.PublishRequest("$JS.API.DIRECT.GET."+stream, reply, []byte(req)); err != nil {
				t.Fatal(err)
			}
		}
		if err := ops.PublishRequest("gw.demo.cmd.a.Echo", reply, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := obs.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := ops.Flush(); err != nil {
		t.Fatal(err)
	}
	// The server handles messages in order; one more round trip proves that all have been handled.
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	if len(reached) > 0 {
		m := <-reached
		t.Errorf("%s was reached with %v %q", m.Subject, m.Header, m.Data)
	}
	events, err := c.Events(within(t), "gw.*.event.>", 100)
	if err != nil || len(events) != 1 {
		t.Errorf("events: %+v %v", events, err)
	}
	n := 0
	if err := c.Last(within(t), "gw.*.state.>", func(r bus.Record) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d states, %v", n, err)
	}
}

func TestKeysAreKept(t *testing.T) {
	dir := t.TempDir()
	change := func(c *bus.Config) { c.Dir, c.Listen = filepath.Join(dir, "store"), "127.0.0.1:0" }
	b := start(t, change)
	path := filepath.Join(dir, "keys", "operator.nk")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Error(st.Mode())
	}
	b.Close()
	start(t, change).Close()
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the key has changed")
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	b = start(t, change)
	if notes := b.Report().Notes; len(notes) != 1 || !strings.Contains(notes[0], "operator.nk") {
		t.Error(notes)
	}
	outside(t, b, filepath.Join(dir, "keys"), bus.Operator)
}
