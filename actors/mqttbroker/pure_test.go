package mqttbroker

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

func TestParse(t *testing.T) {
	me := mqtt.ClientInfo{ID: "me"}
	for _, tt := range []struct{ topic, response, wantTopic, wantReply string }{
		{"cmd/a/b/SetMode", "", "cmd/a/b/SetMode", "reply/me/a/b/SetMode"},
		{"cmd/a/b/SetMode/42", "", "cmd/a/b/SetMode", "reply/me/42"},
		{"cmd/a/b/SetMode/Token", "", "cmd/a/b/SetMode", "reply/me/Token"},
		{"cmd/a/b/SetMode", "reply/me/x", "cmd/a/b/SetMode", "reply/me/x"},
		{"cmd/a/b/SetMode/42", "reply/me/x", "cmd/a/b/SetMode", "reply/me/x"},
		{"cmd/a/b/SetMode/", "", "cmd/a/b/SetMode/", "reply/me/a/b/SetMode/"},
		{"cmd/a", "", "cmd/a", "reply/me/a"},
		{"cmd/", "", "cmd/", "reply/me/"},
	} {
		m := parse(me, mqtt.Publish{Topic: tt.topic, Properties: mqtt.Properties{ResponseTopic: tt.response}})
		if reply := mqtt.ReplyTopic(me, m.reply); m.topic != tt.wantTopic || reply != tt.wantReply {
			t.Errorf("%s: calls %s, answers on %s; want %s and %s", tt.topic, m.topic, reply, tt.wantTopic, tt.wantReply)
		}
	}
}

// Whatever a client publishes, the answer goes to that client or to its response topic, and the
// call to the topic it published on.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"cmd/a/SetMode/1", "cmd/A/A/A", "cmd//", "cmd/", "cmd/a/\x00/B/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		me := mqtt.ClientInfo{ID: "me"}
		m := parse(me, mqtt.Publish{Topic: "cmd/" + topic})
		if !strings.HasPrefix("cmd/"+topic, m.topic) || !strings.HasPrefix(mqtt.ReplyTopic(me, m.reply), "reply/me/") {
			t.Errorf("%q: calls %q, answers on %q", topic, m.topic, mqtt.ReplyTopic(me, m.reply))
		}
	})
}

func TestTimeout(t *testing.T) {
	for expiry, want := range map[time.Duration]time.Duration{
		0: 10 * time.Second, time.Second: time.Second, time.Minute: time.Minute, time.Hour: maxCallTime,
	} {
		m := command{reply: mqtt.Publish{Properties: mqtt.Properties{Expiry: expiry}}}
		if got := m.timeout(10 * time.Second); got != want {
			t.Errorf("expiry %s: %s, want %s", expiry, got, want)
		}
	}
}

func TestOpenCalls(t *testing.T) {
	h := &shared{}
	a, other, canceled := &session{shared: h, calls: &mqtt.Calls{}}, &mqtt.Calls{}, 0
	call := func() *mqtt.Call { return &mqtt.Call{Cancel: func() { canceled++ }, Lasts: true} }
	var last *mqtt.Call
	for range maxClientCalls {
		last = call()
		if err := h.begin(a.calls, last); err != nil {
			t.Fatal(err)
		}
	}
	if h.begin(a.calls, call()) == nil {
		t.Error("one client may have too many")
	}
	one := call()
	if err := h.begin(other, one); err != nil {
		t.Errorf("another client suffers: %v", err)
	}
	if !h.end(other, one) || h.end(other, one) {
		t.Error("a call ends once")
	}
	if !h.end(a.calls, last) {
		t.Error("it was not there")
	}
	a.leave()
	if h.slots.Taken() != 0 || a.calls.Open() != 0 || a.calls.Refused() != 1 || canceled != maxClientCalls-1+3 {
		t.Errorf("something is left: %d %d %d %d", h.slots.Taken(), a.calls.Open(), a.calls.Refused(), canceled)
	}
}

// The streams of a client that stays away end and free their slots. A call with one answer has a
// time limit of its own, and a client that is back in time keeps everything.
func TestStreamsOfTheAbsentEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// After all other cleanups: lets everything that was started end.
		t.Cleanup(func() { time.Sleep(time.Minute); synctest.Wait() })
		r, _ := actorstest.NewVirtual(t)
		h := &shared{}
		cell := r.Start("edge/broker/session-1", *sessionKind(h), &mqttv1.Session{})
		tell := func(msg any) {
			r.System.Ask(cell.Path(), msg, func(any, error) {})
			synctest.Wait()
		}
		var streams, others atomic.Int32
		calls := &mqtt.Calls{}
		calls.Add(&mqtt.Call{Cancel: func() { streams.Add(1) }, Lasts: true}, 2)
		calls.Add(&mqtt.Call{Cancel: func() { others.Add(1) }}, 2)
		here := attached{&mqtt.ClientInfo{ID: "dev"}, &mqttv1.Session{}, calls}
		tell(here)
		tell(away{})
		time.Sleep(maxCallTime / 2)
		tell(here)
		time.Sleep(2 * maxCallTime)
		tell(away{})
		time.Sleep(maxCallTime / 2)
		if streams.Load() != 0 {
			t.Error("the stream of who was back in time, or has not been away for long, has ended")
		}
		time.Sleep(maxCallTime)
		synctest.Wait()
		if streams.Load() != 1 || others.Load() != 0 {
			t.Errorf("%d streams and %d other calls were given up", streams.Load(), others.Load())
		}
	})
}

// The name of an ended session is reused late, but it is reused.
func TestSessionNumbers(t *testing.T) {
	s := sessions{all: map[string]*place{}, taken: map[int]struct{}{3: {}}}
	seen := map[int]int{}
	for i := range 5000 {
		n := s.number()
		if n == 3 {
			t.Fatal("a number was given twice")
		}
		if last, again := seen[n]; again && i-last < 1000 {
			t.Fatalf("number %d is back after %d others", n, i-last)
		}
		seen[n] = i
	}
	if len(seen) > 1024 {
		t.Errorf("%d numbers for one client at a time", len(seen))
	}
}

// peer answers one connection with these bytes and sends nothing more.
func peer(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(says))
		_, _ = conn.Read(make([]byte, 1000))
		_, _ = conn.Read(make([]byte, 1000))
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestCanaryDies(t *testing.T) {
	for name, tt := range map[string]struct {
		addr, want string
		within     time.Duration
	}{
		"nobody listens":  {freeport.Address(t), "refused", time.Minute},
		"no answer":       {peer(t, ""), "connect: no answer", 2 * time.Second},
		"refused":         {peer(t, "\x20\x02\x00\x05"), "connect: answered 20 02 00 05", time.Minute},
		"no subscription": {peer(t, "\x20\x02\x00\x00"), "subscribe: no answer", 2 * time.Second},
		"no echo":         {peer(t, "\x20\x02\x00\x00\x90\x03\x00\x01\x00"), "publish: no answer", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			if err := (canaryRun{addr: tt.addr, id: "x"}).roundTrip(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestKindHasPower(t *testing.T) {
	if p := Kind.Power(nil); p == nil || p.Off != nil || p.On != nil {
		t.Errorf("power %+v: a cycle is the listener down and up", p)
	}
	if err := actors.CheckKind(&Kind); err != nil {
		t.Error(err)
	}
}
