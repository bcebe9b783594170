package mqtt

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/access"
)

func TestDefaultAuthorize(t *testing.T) {
	me := ClientInfo{ID: "me"}
	for _, c := range []struct {
		topic       string
		write, want bool
	}{
		{"cmd/radio/wlan0/SetMode", true, true},
		{"reply/me/1", true, true},
		{"reply/me/1", false, true},
		{"reply/you/1", true, false},
		{"reply/you/1", false, false},
		{"reply/you/#", false, false},
		{"reply/+/1", false, true}, // each delivery is checked again
		{"reply/me", false, false},
		{"replyx/y", false, true},
		{"#", false, true},
		{"data/#", false, true},
		{"anything", true, false},
	} {
		if got := DefaultAuthorize(me, c.topic, c.write); got != c.want {
			t.Errorf("%q write=%v: %v, want %v", c.topic, c.write, got, c.want)
		}
	}
}

func TestOwnedTopicsAreClosedToClients(t *testing.T) {
	s := start(t, Config{}) // Authorize allows everything
	for _, topic := range []string{"data/x", "data", "event/x", "state/a/b", "trace/x", "$SYS/broker/version", "$sys/x", "$share/g/x"} {
		for _, ver := range []byte{4, 5} {
			watch := join(t, s, hello{id: "watch", ver: 5})
			watch.subscribe("#", 0)
			watch.subscribe("$SYS/x", 0)
			p := join(t, s, hello{id: "evil", ver: ver})
			p.publish(topic, 0, 0, "forged")
			p.sync()
			p.publish(topic, 1, 7, "forged")
			switch typ, b := p.next(); {
			case ver == 4 && topic[0] == '$': // acknowledged, and nothing more
				if typ != 0x40 {
					t.Errorf("%q version 4: got %#x %x, want PUBACK", topic, typ, b)
				}
			case ver == 4 && typ != 0:
				t.Errorf("%q version 4: got %#x %x, want the end", topic, typ, b)
			case ver == 5 && (typ != 0x40 || b[2] != 0x87):
				t.Errorf("%q version 5: got %#x %x, want PUBACK 0x87", topic, typ, b)
			}
			if err := s.Publish("data/mark", []byte("mark"), false, Properties{}); err != nil {
				t.Fatal(err)
			}
			if topic, payload, _ := watch.message(); payload != "mark" {
				t.Errorf("delivered %q %q", topic, payload)
			}
		}
	}
}

// The library would send a will to any topic, whatever the client may publish to itself (M4).
func TestForbiddenWillsAreRefused(t *testing.T) {
	s := start(t, Config{Authorize: DefaultAuthorize})
	for _, topic := range []string{"state/x", "$SYS/broker/version", "data/x", "other", "cmd/gate/Open", "a/+", "reply/you/x"} {
		for _, ver := range []byte{4, 5} {
			p := dial(t, s)
			if _, code := p.connect(hello{id: "me", ver: ver, will: topic, retain: true}); code == 0 {
				t.Errorf("will to %q let in", topic)
			}
			p.wantClosed()
		}
	}
	watch := join(t, s, hello{id: "watch"})
	p := join(t, s, hello{id: "watch2", will: "reply/watch2/gone"})
	_ = watch
	_ = p.Close()
}

// A will that was allowed at CONNECT may be forbidden when it is sent (M4).
func TestWillIsCheckedAgainWhenItIsSent(t *testing.T) {
	revoked := make(chan struct{})
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell, Authorize: func(_ ClientInfo, topic string, write bool) bool {
		select {
		case <-revoked:
			return !write
		default:
			return true
		}
	}})
	watch := join(t, s, hello{id: "watch"})
	watch.subscribe("#", 0)
	for i := range 2 {
		p := join(t, s, hello{id: "p", will: "bye"})
		if i == 1 {
			close(revoked)
		}
		_ = p.Close()
		wait(SessionDisconnected)
		if i == 0 {
			if topic, _, _ := watch.message(); topic != "bye" {
				t.Errorf("got %q, want the will", topic)
			}
		}
	}
	_ = s.Publish("data/mark", []byte("mark"), false, Properties{})
	if topic, _, _ := watch.message(); topic != "data/mark" {
		t.Errorf("got %q: a revoked will was sent", topic)
	}
}

// Without the check, a client that uses another client's id would get its session, and the
// library's own client could be replaced by its id (M7).
func TestClientIDs(t *testing.T) {
	s := start(t, Config{})
	alice := join(t, s, hello{id: "meter", user: "alice"})
	for name, h := range map[string]hello{
		"reserved":      {id: "inline"},
		"another's":     {id: "meter", user: "bob"},
		"wildcard":      {id: "a+"},
		"slash":         {id: "a/b"},
		"too long":      {id: strings.Repeat("x", 129)},
		"empty, stored": {id: "", keep: true},
	} {
		for _, ver := range []byte{4, 5} {
			if name == "empty, stored" && ver == 5 {
				continue // the broker assigns one
			}
			h.ver = ver
			p := dial(t, s)
			if _, code := p.connect(h); code == 0 {
				t.Errorf("%s: let in", name)
			}
			p.wantClosed()
		}
	}
	alice.sync()
	join(t, s, hello{id: "meter", user: "alice"}).sync()
	alice.wantClosed()
	a, b := join(t, s, hello{id: ""}), join(t, s, hello{id: "", ver: 5})
	a.sync()
	b.sync()
}

func TestAuthenticateSeesThePasswordOnce(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell, Authenticate: func(c ClientInfo) (*access.Identity, error) {
		if c.Username != "u" || c.Remote == "" || c.Version != 4 {
			return nil, errors.New("wrong")
		}
		return nil, nil
	}})
	if _, code := dial(t, s).connect(hello{id: "x", user: "v"}); code == 0 {
		t.Error("wrong user let in")
	}
	join(t, s, hello{id: "x", user: "u"})
	if e := wait(SessionConnected); e.Client.Password != nil || e.Client.ID != "x" {
		t.Errorf("got %+v", e)
	}
}

// The library checks the permission for the empty topic before it resolves an alias (M6): no
// aliases are accepted.
func TestTopicAliasesAreRefused(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", ver: 5})
	p.publish("x/1", 0, 0, "b", 0x23, 0, 1)
	p.wantClosed()
}

func TestMalformedFiltersAreRefused(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", ver: 5})
	for _, f := range []string{"a+/b", "a#", "a/#/b", "+b", "$share/g", ""} {
		if code := p.subscribe(f, 0); code < 0x80 {
			t.Errorf("%q was granted", f)
		}
	}
	for _, f := range []string{"#", "+", "a/+/b", "a/#", "$share/g/a", "/"} {
		if code := p.subscribe(f, 0); code >= 0x80 {
			t.Errorf("%q was refused with %#x", f, code)
		}
	}
}

func TestRepliesGoOnlyWhereTheClientMayWrite(t *testing.T) {
	served := make(chan Publish, 1)
	s := start(t, Config{Authorize: DefaultAuthorize, OnPublish: func(_ ClientInfo, p Publish) error { served <- p; return nil }})
	p := join(t, s, hello{id: "me", ver: 5})
	for _, topic := range []string{"state/x", "cmd/gate/Open", "reply/you/x", "$SYS/x", "a/#"} {
		p.publish("cmd/a/Do", 1, 3, "", append([]byte{8}, text(topic)...)...)
		typ, b := p.next()
		if topic == "a/#" && typ == 0xe0 {
			p = join(t, s, hello{id: "me", ver: 5})
			continue
		}
		if typ != 0x40 || len(b) < 3 || b[2] < 0x80 {
			t.Errorf("response topic %q: got %#x %x", topic, typ, b)
		}
		if err := s.Respond(ClientInfo{ID: "me"}, Publish{Topic: "cmd/a/Do", Properties: Properties{ResponseTopic: topic}}, nil, Properties{}); err == nil {
			t.Errorf("responded to %q", topic)
		}
	}
	select {
	case got := <-served:
		t.Errorf("served %+v", got)
	default:
	}
	old := join(t, s, hello{id: "old"})
	old.subscribe("reply/old/#", 0)
	old.publish("cmd/a/Do", 0, 0, "q")
	if err := s.Respond(ClientInfo{ID: "old"}, <-served, []byte("r"), Properties{}); err != nil {
		t.Fatal(err)
	}
	if topic, payload, _ := old.message(); topic != "reply/old/a/Do" || payload != "r" {
		t.Errorf("got %q %q", topic, payload)
	}
}

func TestFilterCheckAgreesWithTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "+", "#", "a+", "b#"}), 1, 5).Draw(t, "levels")
		filter := strings.Join(levels, "/")
		good := filter != ""
		for i, l := range levels {
			if l == "a+" || l == "b#" || l == "#" && i < len(levels)-1 {
				good = false
			}
		}
		if got := checkFilter(filter) == nil; got != good {
			t.Fatalf("%q: %v, want %v", filter, got, good)
		}
	})
}
