package mqtt

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"gatewayd/protocols/access"
)

// refusals are all refusals that were reported.
type refusals struct {
	access.Tally
	seen map[string]access.Refusal
}

func (t *refusals) all() []access.Refusal {
	if t.seen == nil {
		t.seen = map[string]access.Refusal{}
	}
	for _, r := range t.Take() {
		r.Count += t.seen[r.Reason].Count
		t.seen[r.Reason] = r
	}
	return slices.SortedFunc(maps.Values(t.seen), func(a, b access.Refusal) int { return cmp.Compare(a.Reason, b.Reason) })
}

// Refusals are counted by reason, with the latest client. A connection that only checks whether the
// port is open is no refusal.
func TestRefusalsAreCountedByReason(t *testing.T) {
	told := refusals{}
	s := start(t, Config{
		OnRefused: func(r access.Refusal) { told.Add(r) }, MaxClientsPerAddress: 8, ConnectTimeout: 300 * time.Millisecond,
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
		access.RefusedStranger:    {1, "", ""},
		access.RefusedCredentials: {1, "e", "wrong password"},
		RefusedClientID:           {1, "a/b", ""},
		RefusedWill:               {1, "w", ""},
		access.RefusedTopic:       {2, "p", `it may not publish on "closed"`},
		access.RefusedPacket:      {1, "p", ""},
	}
	var got []access.Refusal
	for deadline := time.Now().Add(patience); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got = told.all()
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
	if all := told.all(); all[1].Reason != access.RefusedCrowd && all[2].Reason != access.RefusedCrowd {
		t.Errorf("%+v", all)
	}
}
