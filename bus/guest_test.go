package bus_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/bus"
	samplev1 "gatewayd/schemas/sample/v1"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// house is a guard that admits the listed guests, by name, and remembers what was shown.
type house struct {
	guests atomic.Pointer[map[string]bus.Guest]
	shown  chan bus.Presented
}

func (h *house) set(all ...bus.Guest) {
	m := map[string]bus.Guest{}
	for _, g := range all {
		m[g.Name] = g
	}
	h.guests.Store(&m)
}

func (h *house) enter(s bus.Presented) (bus.Guest, error) {
	select {
	case h.shown <- s:
	default: // the test does not look
	}
	return h.still(bus.Guest{Name: s.Name})
}

func (h *house) still(g bus.Guest) (bus.Guest, error) {
	is, ok := (*h.guests.Load())[g.Name]
	if !ok {
		return is, errors.New("nobody of that name")
	}
	return is, nil
}

func guarded(t *testing.T, all ...bus.Guest) (*bus.Bus, *house, string) {
	t.Helper()
	h := &house{shown: make(chan bus.Presented, 16)}
	h.set(all...)
	b, keys := listening(t, func(c *bus.Config) { c.Guard = h.enter })
	return b, h, keys
}

func guest(t *testing.T, b *bus.Bus, name string, opts ...nats.Option) (*nats.Conn, <-chan error) {
	t.Helper()
	return outside(t, b, "", "", append(opts, nats.UserInfo(name, "x"))...)
}

var plant = bus.Guest{
	Name: "anna", Allow: []string{"data/#", "state/field/#", "event/+/+/alarm", "cmd/field/#", "shelly/+/status", "#odd"},
	Deny: []string{"cmd/field/plc/Restart", "data/secret/#"},
}

// A guest may use what its filters match, and nothing else.
func TestGuestsUseWhatTheyMay(t *testing.T) {
	b, _, _ := guarded(t, plant, bus.Guest{Name: "ada", Allow: []string{"#"}}, bus.Guest{Name: "none"}, bus.Guest{Name: "all-but", Allow: []string{"+/#"}, Deny: []string{"state/secret/#"}})
	for _, tc := range []struct {
		name                   string
		publish, publishDenied []string
		hear, hearDenied       []string
	}{
		{
			name:          "anna",
			publish:       []string{"gw.demo.cmd.field.plc.WriteRegisters", "$SRV.PING", "$JS.API.DIRECT.GET.STATE.gw.demo.state.field.plc.health"},
			publishDenied: []string{"gw.demo.cmd.field.plc.Restart", "gw.demo.cmd.root.Restart", "gw.demo.data.field.x", "$JS.API.DIRECT.GET.STATE", "$JS.API.DIRECT.GET.STATE.gw.demo.state.root.health", "$JS.API.DIRECT.GET.EVENTS", "$JS.API.STREAM.DELETE.EVENTS", "_INBOX.x"},
			hear:          []string{"gw.*.data.>", "gw.demo.data.field.plc.points", "gw.demo.state.field.>", "gw.demo.event.field.plc.alarm", "_INBOX.x.>"},
			hearDenied:    []string{">", "gw.>", "gw.demo.cmd.>", "gw.demo.data.secret.>", "gw.demo.state.>", "gw.demo.trace.>", "gw.demo.event.>", "_GW.>", "$JS.>"},
		},
		{
			name: "ada", publish: []string{"gw.demo.cmd.root.Restart", "$JS.API.DIRECT.GET.STATE", "$JS.API.DIRECT.GET.EVENTS"},
			publishDenied: []string{"gw.demo.state.a.health", "$JS.API.STREAM.PURGE.EVENTS"}, hear: []string{"gw.*.data.>", "gw.*.trace.>"}, hearDenied: []string{">", "gw.demo.cmd.>"},
		},
		{name: "none", publish: []string{"$SRV.PING"}, publishDenied: []string{"gw.demo.cmd.a.B"}, hearDenied: []string{"gw.demo.data.>"}},
		{
			name: "all-but", publish: []string{"$JS.API.DIRECT.GET.EVENTS"},
			publishDenied: []string{"$JS.API.DIRECT.GET.STATE", "$JS.API.DIRECT.GET.STATE.gw.demo.state.secret.x"}, hear: []string{"gw.demo.state.>"}, hearDenied: []string{"gw.demo.state.secret.x"},
		},
	} {
		try := func(denied bool, what string, do func(*nats.Conn) error) {
			t.Helper()
			nc, _ := guest(t, b, tc.name)
			defer nc.Close()
			if err := errors.Join(do(nc), nc.FlushTimeout(patience)); err != nil {
				t.Fatal(what, err)
			}
			if err := nc.LastError(); (err != nil) != denied {
				t.Errorf("%s: %s: denied should be %v: %v", tc.name, what, denied, err)
			}
		}
		for denied, subjects := range map[bool][]string{false: tc.publish, true: tc.publishDenied} {
			for _, s := range subjects {
				try(denied, "publish "+s, func(nc *nats.Conn) error { return nc.Publish(s, nil) })
			}
		}
		for denied, subjects := range map[bool][]string{false: tc.hear, true: tc.hearDenied} {
			for _, s := range subjects {
				try(denied, "subscribe "+s, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(s); return err })
			}
		}
	}
}

// A guest with a wide subscription receives what is not denied.
func TestGuestsDoNotHearWhatIsDenied(t *testing.T) {
	b, _, _ := guarded(t, plant)
	nc, _ := guest(t, b, "anna")
	sub, err := nc.SubscribeSync("gw.demo.data.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"gw.demo.data.secret.x", "gw.demo.data.field.x"} {
		if err := b.Conn().Publish(s, &samplev1.Samples{}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := sub.NextMsg(patience); err != nil || m.Subject != "gw.demo.data.field.x" {
		t.Errorf("%+v, %v", m, err)
	}
}

// The caller is the proven identity, and two guests do not receive each other's answers.
func TestGuestsAreCallers(t *testing.T) {
	b, _, keys := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"#"}})
	callers := make(chan bus.Caller, 1)
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		callers <- m.Caller()
		_ = m.RespondRaw(bus.JSON, []byte("{}"))
	}); err != nil {
		t.Fatal(err)
	}
	otto, _ := guest(t, b, "otto")
	overheard, err := otto.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	anna, _ := guest(t, b, "anna")
	m := &nats.Msg{Subject: "gw.demo.cmd.field.plc.Write", Header: nats.Header{"Gw-Caller": {"user/otto"}, "Nats-Request-Info": {`{"acc":"user/otto"}`}}}
	if _, err := anna.RequestMsg(m, patience); err != nil {
		t.Fatal(err)
	}
	if c := receive(t, callers); c.Identity != "user/anna" {
		t.Errorf("the caller is %q", c.Identity)
	}
	if err := otto.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := overheard.Pending(); n != 0 {
		t.Error("another one's answer was heard")
	}
	// The gateway's own keys still work on this machine: somebody must be able to repair the
	// policy.
	ops, _ := outside(t, b, keys, bus.Operator)
	if _, err := ops.Request("gw.demo.cmd.field.plc.Write", nil, patience); err != nil {
		t.Fatal(err)
	}
	if c := receive(t, callers); c.Identity != "nats/operator" {
		t.Errorf("the caller is %q", c.Identity)
	}
}

// What the guard has noted of a guest is passed with its calls, per connection, including calls
// that are still queued when the guest is disconnected.
func TestCallsOfGuestsBringTheirProof(t *testing.T) {
	b, h, keys := guarded(t)
	first, second := new(int), new(int)
	callers := make(chan bus.Caller, 4)
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		callers <- m.Caller()
		_ = m.RespondRaw(bus.JSON, []byte("{}"))
	}); err != nil {
		t.Fatal(err)
	}
	come := func(proof *int) *nats.Conn {
		h.set(bus.Guest{Name: "otto", Allow: []string{"#"}, Of: proof})
		nc, _ := guest(t, b, "otto")
		return nc
	}
	one, other := come(first), come(second)
	ops, _ := outside(t, b, keys, bus.Operator)
	for _, tt := range []struct {
		from  *nats.Conn
		proof any
	}{{one, first}, {other, second}, {one, first}, {ops, nil}} {
		m := &nats.Msg{Subject: "gw.demo.cmd.field.plc.Write", Header: nats.Header{"Nats-Request-Info": {`{"acc":"user/otto","id":1}`}}}
		if _, err := tt.from.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
		if c := receive(t, callers); c.Proof != tt.proof || c.Identity != "user/otto" && tt.from != ops {
			t.Errorf("the caller is %+v", c)
		}
	}

	hold := make(chan struct{})
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		<-hold
		callers <- m.Caller()
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Request("gw.demo.cmd.field.plc.Write", nil, patience); err != nil {
		t.Fatal(err)
	}
	receive(t, callers)
	h.set()
	if cuts := b.Review(h.still); len(cuts) != 1 || cuts[0].Connections != 2 {
		t.Errorf("cut: %+v", cuts)
	}
	if cuts := b.Review(h.still); len(cuts) != 0 {
		t.Errorf("cut again: %+v", cuts)
	}
	close(hold)
	if c := receive(t, callers); c.Identity != "user/otto" || c.Proof != any(first) {
		t.Errorf("of one who has been cut off: %+v", c)
	}
}

// A message that arrived before a restart and is handled after it belongs to its original sender,
// whoever has the same connection id now.
func TestProofsOutliveARestart(t *testing.T) {
	b, h, _ := guarded(t)
	before, after := new(int), new(int)
	callers, hold := make(chan bus.Caller, 64), make(chan struct{})
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		<-hold
		callers <- m.Caller()
	}); err != nil {
		t.Fatal(err)
	}
	come := func(proof *int) (*nats.Conn, uint64) {
		h.set(bus.Guest{Name: "otto", Allow: []string{"#"}, Of: proof})
		nc, _ := guest(t, b, "otto", nats.NoReconnect())
		id, err := nc.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		return nc, id
	}
	ask := func(nc *nats.Conn) {
		t.Helper()
		if err := nc.PublishRequest("gw.demo.cmd.field.plc.Write", nc.NewInbox(), nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
	}
	var old []uint64
	for range 8 { // connections of the gateway itself have ids, too
		nc, id := come(before)
		ask(nc)
		old = append(old, id)
	}
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	for last := uint64(0); last < old[len(old)-1]; {
		nc, id := come(after)
		ask(nc)
		last = id
	}
	close(hold)
	for range old {
		if c := receive(t, callers); c.Identity != "user/otto" || c.Proof != any(before) {
			t.Errorf("of one who came before: %+v", c)
		}
	}
	if c := receive(t, callers); c.Proof != any(after) {
		t.Errorf("of one who came after it: %+v", c)
	}
}

// Gateways step their clocks when they get the time, in either direction: the sender of a message
// is known all the same.
func TestProofsOutliveAStepOfTheClock(t *testing.T) {
	at := func(hour, ms int) time.Time {
		return time.Date(2026, 1, 1, hour, 0, 0, ms*int(time.Millisecond), time.UTC)
	}
	for _, tt := range []struct {
		of            string
		former, start time.Time // of its connection
		present       time.Time
	}{
		{"former", at(5, 9), at(5, 1), at(6, 9)},
		{"present", at(5, 9), at(6, 1), at(6, 9)},
		{"former", at(5, 9), at(5, 1), at(1, 9)}, // set back in between
		{"present", at(5, 9), at(1, 1), at(1, 9)},
		{"present", time.Time{}, at(1, 1), at(1, 9)}, // set back since the first server started: no guest preceded it
		{"former", at(5, 9), at(5, 1), at(20, 9)},    // set forward
		{"present", at(5, 9), at(20, 1), at(20, 9)},
	} {
		if got := bus.ProofOf(tt.start, tt.present, tt.former); got != tt.of {
			t.Errorf("of a connection of %s, with guests of %s and, before, of %s, it is %v", tt.start, tt.present, tt.former, got)
		}
	}
}

// A client that is disconnected while it waits for an answer gets an error and does not wait on.
func TestWhoIsCutOffDoesNotWait(t *testing.T) {
	b, h, _ := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"#"}})
	begun := make(chan struct{}, 2)
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(bus.Msg) { begun <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	otto, err := bus.Dial(bus.Options{URL: "nats://" + b.Addr(), User: "otto", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(otto.Close)
	over := make(chan error, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	go func() { over <- otto.Call(ctx, "gw.demo.cmd.access.Revoke", wrapperspb.Int64(1), nil) }()
	go func() {
		over <- otto.Stream(ctx, "gw.demo.cmd.access.List", wrapperspb.Int64(1), func(bus.Msg) error { return nil })
	}()
	receive(t, begun)
	receive(t, begun)
	h.set()
	b.Review(h.still)
	for range 2 {
		if err := receive(t, over); code(err) != bus.Unavailable || !strings.Contains(err.Error(), "has ended this client's access") {
			t.Errorf("he is told %v", err)
		}
	}
}

// A caller that opens streams without end gets its share and leaves others theirs; ended streams do
// not count.
func TestNobodyTakesAllStreams(t *testing.T) {
	b, _, _ := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"#"}})
	end := make(chan bus.Msg, bus.MostStreams)
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		_ = m.Send(wrapperspb.Int64(1))
		select {
		case end <- m:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	ask := func(nc *nats.Conn, id int) *nats.Msg {
		t.Helper()
		m, err := nc.RequestMsg(&nats.Msg{
			Subject: "gw.demo.cmd.field.plc.Watch", Header: nats.Header{"Gw-Stream": {strconv.Itoa(id)}, "Gw-Lease": {"300000"}}, Data: []byte("{}"),
		}, patience)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	otto, _ := guest(t, b, "otto")
	anna, _ := guest(t, b, "anna")
	for i := range bus.MostStreams {
		if m := ask(otto, i); m.Header.Get("Gw-Seq") != "1" {
			t.Fatalf("stream %d: %v %s", i, m.Header, m.Data)
		}
	}
	if m := ask(otto, bus.MostStreams); m.Header.Get("Nats-Service-Error-Code") != "resource_exhausted" || !strings.Contains(string(m.Data), "user/otto has") {
		t.Errorf("one too many: %v %s", m.Header, m.Data)
	}
	if m := ask(anna, 0); m.Header.Get("Gw-Seq") != "1" {
		t.Errorf("another caller: %v %s", m.Header, m.Data)
	}
	if err := receive(t, end).End(nil); err != nil {
		t.Fatal(err)
	}
	if m := ask(otto, bus.MostStreams); m.Header.Get("Gw-Seq") != "1" {
		t.Errorf("in the place of one that has ended: %v %s", m.Header, m.Data)
	}
}

// The guard gets what a client shows, and a key only if the client has signed with it.
func TestWhatGuestsShow(t *testing.T) {
	cert, pool := certificate(t)
	h := &house{shown: make(chan bus.Presented, 16)}
	h.set(bus.Guest{Name: ""}, bus.Guest{Name: "anna"})
	b, _ := listening(t, func(c *bus.Config) {
		c.Guard = h.enter
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	})
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	believe := nats.Secure(&tls.Config{RootCAs: pool})
	for _, tc := range []struct {
		name string
		opts []nats.Option
		want func(bus.Presented) bool
	}{
		{"nothing", nil, func(s bus.Presented) bool { return s.Name == "" && s.Key == "" && s.Certificate == nil }},
		{"password", []nats.Option{nats.UserInfo("anna", "pw")}, func(s bus.Presented) bool { return s.Name == "anna" && string(s.Password) == "pw" }},
		{"token", []nats.Option{nats.Token("gwt_x")}, func(s bus.Presented) bool { return s.Token == "gwt_x" }},
		{"key", []nats.Option{nats.Nkey(public, pair.Sign)}, func(s bus.Presented) bool { return s.Key == public }},
		{"certificate", []nats.Option{nats.Secure(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}})}, func(s bus.Presented) bool { return s.Certificate != nil }},
	} {
		nc, err := nats.Connect("tls://"+b.Addr(), append([]nats.Option{believe}, tc.opts...)...)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		nc.Close()
		if s := receive(t, h.shown); !tc.want(s) {
			t.Errorf("%s: %+v", tc.name, s)
		}
	}
	forged := nats.Nkey(public, func([]byte) ([]byte, error) { return make([]byte, 64), nil })
	if nc, err := nats.Connect("tls://"+b.Addr(), believe, forged); err == nil {
		nc.Close()
		t.Error("a key was believed that was not shown")
	}
	if len(h.shown) > 0 {
		t.Error("the guard was asked about a key that was not shown")
	}
}

// A guest that is no longer admitted is disconnected, a guest with changed permissions reconnects,
// and the others notice nothing.
func TestReview(t *testing.T) {
	b, h, _ := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"#"}}, bus.Guest{Name: "eve", Allow: []string{"data/#"}})
	gone := map[string]chan struct{}{}
	back := map[string]chan struct{}{}
	for _, name := range []string{"anna", "otto", "eve"} {
		g, r := make(chan struct{}, 4), make(chan struct{}, 4)
		gone[name], back[name] = g, r
		guest(t, b, name, nats.ReconnectWait(time.Millisecond),
			nats.DisconnectErrHandler(func(*nats.Conn, error) { g <- struct{}{} }), nats.ReconnectHandler(func(*nats.Conn) { r <- struct{}{} }))
	}
	if cuts := b.Review(h.still); len(cuts) != 0 {
		t.Fatalf("%+v without a reason", cuts)
	}
	less := plant
	less.Allow = []string{"data/#"}
	h.set(less, bus.Guest{Name: "otto", Allow: []string{"#"}})
	cuts := b.Review(h.still)
	if len(cuts) != 2 || cuts[0].Name != "anna" || cuts[1].Name != "eve" || cuts[0].Connections != 1 || cuts[0].Cause == nil {
		t.Errorf("%+v", cuts)
	}
	receive(t, gone["anna"])
	receive(t, gone["eve"])
	receive(t, back["anna"])
	if len(gone["otto"]) > 0 {
		t.Error("a third one was cut off")
	}
	// A new server has the same guests.
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	receive(t, back["otto"])
	h.set()
	names := func() (all []string) {
		for _, c := range b.Review(h.still) {
			all = append(all, c.Name)
		}
		return all
	}
	cut := names()
	for deadline := time.Now().Add(patience); !slices.Contains(cut, "otto") && time.Now().Before(deadline); cut = names() {
		time.Sleep(time.Millisecond)
	}
	receive(t, gone["otto"])
}

// Other clients are admitted while Review takes its time.
func TestReviewKeepsNobodyOut(t *testing.T) {
	b, h, _ := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"#"}})
	guest(t, b, "anna")
	asked := 0
	cuts := b.Review(func(g bus.Guest) (bus.Guest, error) {
		if asked++; asked == 1 {
			guest(t, b, "otto", nats.Timeout(patience))
		}
		return h.still(g)
	})
	if asked == 0 || len(cuts) != 0 {
		t.Errorf("%d were asked about, and cut off: %+v", asked, cuts)
	}
}

// The connections of an expired guest end.
func TestGuestsExpire(t *testing.T) {
	b, h, _ := guarded(t)
	gone := make(chan struct{}, 1)
	for lasts := 200 * time.Millisecond; ; lasts *= 4 {
		h.set(bus.Guest{Name: "anna", Expires: time.Now().Add(lasts)})
		nc, err := nats.Connect(b.Addr(), nats.UserInfo("anna", "x"), nats.NoReconnect(), nats.Timeout(patience), nats.DisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} }))
		if err == nil {
			t.Cleanup(nc.Close)
			break
		}
		if lasts > patience { // a slow machine takes longer to connect
			t.Fatal(err)
		}
	}
	receive(t, gone)
}

// Two guests may choose the same stream id: neither gets the other's answers, or ends the other's
// stream.
func TestStreamsOfGuestsAreTheirOwn(t *testing.T) {
	b, _, _ := guarded(t, plant, bus.Guest{Name: "otto", Allow: []string{"cmd/#"}})
	gone := make(chan error, 2)
	subject := counting(t, b.Conn(), gone)
	subs := map[string]*nats.Subscription{}
	send := func(nc *nats.Conn, reply, header, body string) {
		t.Helper()
		m := &nats.Msg{Subject: subject, Reply: reply, Header: nats.Header{header: {"1"}, "Gw-Lease": {"60000"}}, Data: []byte(body)}
		if header == "Gw-Cancel" {
			m = &nats.Msg{Subject: subject, Header: nats.Header{header: {"1"}}}
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	anna, _ := guest(t, b, "anna")
	otto, _ := guest(t, b, "otto")
	for name, nc := range map[string]*nats.Conn{"anna": anna, "otto": otto} {
		sub, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		subs[name] = sub
		send(nc, sub.Subject, "Gw-Stream", `"0"`)
		for _, want := range []string{"1", "2", "3"} {
			if m, err := sub.NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Seq") != want {
				t.Fatalf("%s: %+v, %v", name, m, err)
			}
		}
	}
	send(otto, "", "Gw-Cancel", "")
	if err := receive(t, gone); code(err) != bus.Canceled {
		t.Errorf("otto's: %v", err)
	}
	send(anna, subs["anna"].Subject, "Gw-Renew", "")
	if m, err := subs["anna"].NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Alive") == "" {
		t.Errorf("anna's ended with otto's: %+v, %v", m, err)
	}
}
