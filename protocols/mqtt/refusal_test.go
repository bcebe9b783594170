package mqtt

import (
	"errors"
	"testing"
	"time"

	"gatewayd/protocols/access"
)

// What is refused is counted by its reason, with who did it last; whoever only looks whether somebody listens has done nothing.
func TestRefusalsAreCountedByReason(t *testing.T) {
	s := start(t, Config{
		MaxClientsPerAddress: 8, ConnectTimeout: 300 * time.Millisecond,
		Authenticate: func(c ClientInfo) (*access.Identity, error) {
			if c.Username == "eve" {
				return nil, errors.New("wrong password")
			}
			return nil, nil
		},
		Authorize: func(_ ClientInfo, topic string, write bool) bool { return !write || topic == "open" },
	})
	_ = dial(t, s).Close()
	dial(t, s).wantClosed()
	dial(t, s).connect(hello{id: "e", user: "eve"})
	dial(t, s).connect(hello{id: "a/b"})
	dial(t, s).connect(hello{id: "w", will: "$SYS/x"})
	p := join(t, s, hello{id: "p"})
	p.send(frame(0x30, text("$SYS/broker/version"), []byte("x")))
	p.send(frame(0x30, text("closed"), []byte("x")))
	p.sync()
	p.send([]byte{0x82, 1, 0})
	p.wantClosed()
	want := map[string]struct {
		count         uint64
		client, cause string
	}{
		RefusedStranger:    {1, "", ""},
		RefusedCredentials: {1, "e", "wrong password"},
		RefusedClientID:    {1, "a/b", ""},
		RefusedWill:        {1, "w", ""},
		RefusedTopic:       {2, "p", `it may not publish on "closed"`},
		RefusedPacket:      {1, "p", ""},
	}
	var got []Refusal
	for deadline := time.Now().Add(patience); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got = s.Refusals()
	}
	for _, r := range got {
		w, ok := want[r.Reason]
		if !ok || r.Count != w.count || r.Client != w.client || r.Remote == "" || r.Cause == "" || w.cause != "" && r.Cause != w.cause {
			t.Errorf("%+v", r)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d reasons", len(got))
	}
	for range 8 {
		join(t, s, hello{})
	}
	dial(t, s).wantClosed()
	if all := s.Refusals(); all[1].Reason != RefusedCrowd && all[2].Reason != RefusedCrowd {
		t.Errorf("%+v", all)
	}
}
