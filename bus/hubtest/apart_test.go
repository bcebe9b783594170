package hubtest_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/bus/hubtest"
)

// leafUser is a gateway's key and its entry at the hub, as generated.
func leafUser(t *testing.T, gateway string, l *bus.Leaf) (user string) {
	t.Helper()
	file, public := hubtest.Key(t)
	l.Key = file
	g, err := l.Grant(gateway)
	if err != nil {
		t.Fatal(err)
	}
	return hubtest.Gateway(public, g)
}

// join starts a gateway at a hub.
func join(t *testing.T, h *hubtest.Hub, gateway string, l *bus.Leaf) *bus.Bus {
	t.Helper()
	l.URLs = h.Leafs()
	b, err := bus.Start(bus.Config{Gateway: gateway, Dir: filepath.Join(t.TempDir(), "bus"), Leaf: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	hubtest.Until(t, gateway+" joins", b.Hub)
	return b
}

// A client with a gateway's key, and a server that lets it try everything, gets no further than the
// gateway: it can neither subscribe to nor call another gateway, publishes nothing in its name, and
// cannot reach the hub's own subjects.
func TestGatewaysAreApart(t *testing.T) {
	a := &bus.Leaf{Calls: []string{"cmd/#"}, Tracks: []string{"#"}}
	b := &bus.Leaf{Calls: []string{"cmd/#"}, Tracks: []string{"#"}}
	userA, userB := leafUser(t, "site-a", a), leafUser(t, "site-b", b)
	h := hubtest.Start(t, 1, userA+userB, "")
	two := join(t, h, "site-b", b)
	if _, err := two.Conn().Subscribe("gw.*.cmd.>", func(m bus.Msg) { _ = m.Respond(&structpb.Struct{}) }); err != nil {
		t.Fatal(err)
	}
	admin := h.Client(0)
	if _, err := admin.Request("$JS.API.STREAM.CREATE.KEPT", []byte(`{"name":"KEPT","subjects":["kept"],"storage":"memory"}`), hubtest.Patience); err != nil {
		t.Fatal(err)
	}

	stolen, err := nats.NkeyOptionFromSeed(a.Key)
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(h.Nodes[0].URL, stolen); err == nil {
		nc.Close()
		t.Error("a gateway's key lets a mere client in")
	}
	thief := leafServer(t, h.Nodes[0].Leaf, a.Key)
	heard := make(chan string, 10_000)
	for _, subject := range []string{">", "gw.site-b.>", "gw.*.state.>", "$JS.>", "$SYS.>", "$JSC.>", "_INBOX.>", "gw.site-b.cmd.>", "gw.site-b.source.tracks", "kept", "gw.site-a.cmd.>"} {
		if _, err := thief.Subscribe(subject, func(m *nats.Msg) { heard <- m.Subject + " " + string(m.Data) }); err != nil {
			t.Fatal(err)
		}
	}
	said := make(chan string, 10_000)
	for _, subject := range []string{"gw.site-b.>", "$JS.site-b.>", "$JSC.R.site-b.>", "kept", "gw.site-a.state.>"} {
		if _, err := admin.Subscribe(subject, func(m *nats.Msg) { said <- m.Subject + " " + string(m.Data) }); err != nil {
			t.Fatal(err)
		}
	}
	// Everything it may publish arrives, and every request it may get reaches it: by then the rest
	// had its chance as well.
	hubtest.Until(t, "the thief's own state is heard", func() bool {
		_ = thief.Publish("gw.site-a.state.x.y", []byte("own"))
		return drained(said, "gw.site-a.state.x.y own")
	})
	for _, subject := range []string{"gw.site-b.state.x.y", "gw.site-b.event.x.y", "gw.site-b.cmd.x.Do", "gw.site-b.source.tracks", "$JS.site-b.API.DIRECT.GET.STATE",
		"$JS.site-b.API.CONSUMER.RESET.TRACKS.HUB_site-b", "$JS.FC.TRACKS.HUB_site-b.1", "$JSC.R.site-b.x.TRACKS.HUB_site-b.y", "kept", "gw.site-c.state.x.y", "gw.site-a.cmd.x.Do"} {
		if err := thief.PublishMsg(&nats.Msg{Subject: subject, Reply: "gw.site-a.state.stolen.answer", Data: []byte("forged")}); err != nil {
			t.Fatal(err)
		}
		if m, err := thief.Request(subject, []byte("forged"), 100*time.Millisecond); err == nil && !strings.HasPrefix(subject, "gw.site-a") {
			t.Errorf("%s is answered: %s", subject, m.Data)
		}
	}
	for _, subject := range []string{"$JS.API.INFO", "$JS.API.STREAM.DELETE.KEPT", "$JS.API.STREAM.NAMES", "$JS.hub.API.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO"} {
		if m, err := thief.Request(subject, nil, 100*time.Millisecond); err == nil && strings.Contains(string(m.Data), "hub-1") {
			t.Errorf("%s of the hub is answered: %s", subject, m.Data)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hubtest.Patience)
	defer cancel()
	if err := two.Conn().Publish("gw.site-b.state.x.secret", &structpb.Struct{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.RequestWithContext(ctx, "gw.site-b.cmd.x.Do", nil); err != nil {
		t.Fatal(err)
	}
	_ = admin.Publish("kept", []byte("real"))
	hubtest.Until(t, "the hub asks the thief", func() bool {
		_ = admin.Publish("gw.site-a.cmd.x.Do", []byte("asked"))
		for len(heard) > 0 {
			text := <-heard
			if !strings.HasSuffix(text, "forged") && (strings.Contains(text, "site-b") || strings.HasPrefix(text, "kept")) {
				t.Errorf("the thief hears %s", text)
			}
			if text == "gw.site-a.cmd.x.Do asked" {
				return true
			}
		}
		return false
	})
	hubtest.Until(t, "what the thief says last is heard", func() bool {
		_ = thief.Publish("gw.site-a.state.x.end", []byte("own"))
		for len(said) > 0 {
			text := <-said
			if strings.Contains(text, "forged") {
				t.Errorf("the hub hears the thief on %s", text)
			}
			if text == "gw.site-a.state.x.end own" {
				return true
			}
		}
		return false
	})
	if m, err := admin.Request("$JS.API.STREAM.INFO.KEPT", nil, hubtest.Patience); err != nil || !strings.Contains(string(m.Data), `"messages":1`) {
		t.Errorf("the hub's stream: %v %s", err, m.Data)
	}
}

// drained collects what has arrived until what arrives.
func drained(from chan string, what string) bool {
	for len(from) > 0 {
		if <-from == what {
			return true
		}
	}
	return false
}

// leafServer is a server that joins a hub with a stolen key and lets its client do everything.
func leafServer(t *testing.T, hub, key string) *nats.Conn {
	t.Helper()
	o := &server.Options{ServerName: "thief", Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true}
	u, err := url.Parse(hub)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{u}, Nkey: strings.TrimSpace(string(text))}}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	hubtest.Until(t, "the thief joins", func() bool { return s.NumLeafNodes() > 0 })
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
