package access_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/access"
)

// The credentials with which an identity was admitted are judged by the policy that admitted it,
// and by no other.
func TestCourtKnowsByWhatOneCameIn(t *testing.T) {
	a := newCA(t, "site")
	cert := a.issue(t, "otto", 7, a.cert)
	keep := func(keeper string, who access.Credentials, serials ...string) *access.Policy {
		p := policy(t, who)
		l, err := access.NewCRLs(nil, nil, serials, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Revoke(l, nil)
		p.Keep(keeper)
		return p
	}
	otto := access.Credentials{Name: "otto", Roles: []string{"operator"}, Certificates: []string{"CN:otto"}, Tokens: []string{access.Digest("t")}}
	less := otto
	less.Tokens = nil
	before := keep("a", otto)
	byCert, err := before.Certificate(cert, begin)
	if err != nil {
		t.Fatal(err)
	}
	byToken, err := before.Token("t", begin)
	if err != nil {
		t.Fatal(err)
	}
	court := &access.Authorizer{}
	if err := court.Valid(byCert, begin); err != nil {
		t.Errorf("without a policy: %v", err)
	}
	for what, tt := range map[string]struct {
		policy      *access.Policy
		after       time.Duration
		cert, token bool // still valid
	}{
		"as before":               {keep("a", otto), 0, true, true},
		"certificate revoked":     {keep("a", otto, "7"), 0, false, true},
		"certificate expired":     {keep("a", otto), 2 * time.Hour, false, true},
		"token gone":              {keep("a", less), 0, false, false},
		"identity gone":           {keep("a", access.Credentials{Name: "anna"}), 0, false, false},
		"policy of somebody else": {keep("b", less, "7"), 0, true, true},
	} {
		court.Set(tt.policy)
		if err := court.Valid(byCert, begin.Add(tt.after)); (err == nil) != tt.cert {
			t.Errorf("%s: by certificate: %v", what, err)
		}
		if err := court.Valid(byToken, begin.Add(tt.after)); (err == nil) != tt.token {
			t.Errorf("%s: by token: %v", what, err)
		}
	}
}

func TestCourt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	court := &access.Authorizer{}
	if err := court.Authorize("otto", "cmd/x/Y", false, now); err != nil {
		t.Errorf("without a policy: %v", err)
	}
	court.Set(policy(t,
		access.Credentials{Name: "otto", Roles: []string{"operator"}, Rate: 2, Burst: 3},
		access.Credentials{Name: "late", Roles: []string{"admin"}, Expires: now},
		access.Credentials{Name: "thief", Roles: []string{"admin"}, Revoked: true},
	))
	for _, tt := range []struct {
		name, topic string
		waited      bool
		after       time.Duration
		want        error
	}{
		{"otto", "cmd/field/plc/Write", false, 0, nil},
		{"otto", "cmd/field/plc/Restart", false, 0, access.ErrDenied}, // a denied call costs nothing
		{"otto", "cmd/field/plc/Write", false, 0, nil},
		{"otto", "cmd/field/plc/Write", false, 0, nil},
		{"otto", "cmd/field/plc/Write", false, 0, access.ErrRate},
		{"otto", "cmd/field/plc/Write", true, 0, nil}, // counted when it arrived
		{"otto", "cmd/field/plc/Write", false, 400 * time.Millisecond, access.ErrRate},
		{"otto", "cmd/field/plc/Write", false, 500 * time.Millisecond, nil},
		{"otto", "cmd/field/plc/Write", false, 500 * time.Millisecond, access.ErrRate},
		{"late", "cmd/x/Y", false, -time.Second, nil},
		{"late", "cmd/x/Y", true, 0, access.ErrExpired}, // expired while it waited
		{"thief", "cmd/x/Y", false, 0, access.ErrRevoked},
		{"who", "cmd/x/Y", false, 0, nil}, // of another policy
	} {
		if err := court.Authorize(tt.name, tt.topic, tt.waited, now.Add(tt.after)); !errors.Is(err, tt.want) {
			t.Errorf("%s %s: %v, want %v", tt.name, tt.topic, err, tt.want)
		}
	}
}

// In any period no identity makes more calls than its burst and what its rate has added.
func TestRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, burst := rapid.Float64Range(0.1, 50).Draw(t, "rate"), rapid.Float64Range(0, 100).Draw(t, "burst")
		p, err := access.New(roles, []access.Credentials{{Name: "x", Roles: []string{"admin"}, Rate: rate, Burst: burst}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		court := &access.Authorizer{}
		court.Set(p)
		begin := time.Unix(0, 0)
		now, through := begin, 0.0
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")))
			if court.Authorize("x", "cmd/a/B", false, now) == nil {
				through++
			}
		}
		holds := burst
		if holds == 0 {
			holds = rate
		}
		if most := max(holds, 1) + rate*now.Sub(begin).Seconds(); through > most+1e-6 {
			t.Fatal(fmt.Sprintf("%g calls got through in %s, at most %g may", through, now.Sub(begin), most))
		}
	})
}
