package access_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/access"
)

var roles = []access.Role{
	{Name: "viewer", Allow: []string{"data/#", "state/#", "event/+/+/alarm"}, Deny: []string{"state/secret/#"}},
	{Name: "operator", Allow: []string{"cmd/field/#", "data/#"}, Deny: []string{"cmd/field/plc/Restart"}},
	{Name: "admin", Allow: []string{"#"}},
}

func policy(t *testing.T, who ...access.Credentials) *access.Policy {
	t.Helper()
	p, err := access.New(roles, who, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMay(t *testing.T) {
	p := policy(t,
		access.Credentials{Name: "vera", Roles: []string{"viewer"}},
		access.Credentials{Name: "otto", Roles: []string{"operator", "viewer"}},
		access.Credentials{Name: "ada", Roles: []string{"admin"}},
		access.Credentials{Name: "both", Roles: []string{"admin", "operator"}},
		access.Credentials{Name: "none"},
	)
	for _, tt := range []struct {
		name, topic string
		want        bool
	}{
		{"vera", "data/field/plc/points", true},
		{"vera", "data/x", true},
		{"vera", "data", false},
		{"vera", "state/field/plc/health", true},
		{"vera", "state/secret/plc", false},
		{"vera", "event/field/plc/alarm", true},
		{"vera", "event/field/plc/other", false},
		{"vera", "event/field/plc/sub/alarm", false},
		{"vera", "cmd/field/plc/Describe", false},
		{"otto", "cmd/field/plc/WriteRegisters", true},
		{"otto", "cmd/field/plc/Restart", false},
		{"otto", "cmd/root/Restart", false},
		{"otto", "state/secret/plc", false},
		{"ada", "cmd/root/Restart", true},
		// A denial takes precedence over what another role allows.
		{"both", "cmd/field/plc/Restart", false},
		{"none", "data/field/plc/points", false},
	} {
		id, err := p.Lookup(tt.name, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got := id.May(tt.topic); got != tt.want {
			t.Errorf("%s may use %s: %v, want %v", tt.name, tt.topic, got, tt.want)
		}
	}
}

func TestHears(t *testing.T) {
	p := policy(t, access.Credentials{Name: "vera", Roles: []string{"viewer"}})
	id, err := p.Lookup("vera", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]bool{
		"#": true, "+/#": true, "data/#": true, "data/field/plc/points": true, "+/field/plc/alarm": true,
		"cmd/#": false, "cmd/field/plc/Restart": false, "state/secret/#": false, "state/secret/plc": false, "state/+/plc": true,
		"event/a/b/alarm": true, "event/a/b/c/alarm": false, "data": false,
	} {
		if got := id.MaySubscribe(filter); got != want {
			t.Errorf("hears %s: %v, want %v", filter, got, want)
		}
	}
}

func TestWhoGetsIn(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	token := access.NewToken()
	hash := access.Hash([]byte("open sesame"))
	p := policy(t,
		access.Credentials{Name: "ali", Password: hash, Tokens: []string{access.Digest(token)}},
		access.Credentials{Name: "late", Password: hash, Expires: now},
		access.Credentials{Name: "thief", Password: hash, Revoked: true, Certificates: []string{"CN:thief"}},
		access.Credentials{Name: "panels", Certificates: []string{"CN:panel-*", "URI:spiffe://site/*/panel"}},
		access.Credentials{Name: "both", Password: hash, Certificates: []string{"CN:both"}},
		access.Credentials{Name: "bare"},
		access.Credentials{Name: "key", Keys: []string{someKey}},
	)
	d := access.NewDoor()
	if _, err := d.Authenticate(access.Presented{Name: "ali", Password: []byte("open sesame")}, now); !errors.Is(err, access.ErrClosed) {
		t.Errorf("a door without a policy says %v", err)
	}
	d.Set(p)
	spiffe, err := url.Parse("spiffe://site/hall/panel")
	if err != nil {
		t.Fatal(err)
	}
	cert := func(cn string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: cn}, NotAfter: now.Add(time.Hour)}
	}
	for _, tt := range []struct {
		what  string
		shown access.Presented
		name  string
		err   error
	}{
		{"password", access.Presented{Name: "ali", Password: []byte("open sesame")}, "ali", nil},
		{"password again, remembered", access.Presented{Name: "ali", Password: []byte("open sesame")}, "ali", nil},
		{"wrong password", access.Presented{Name: "ali", Password: []byte("open sesam")}, "", access.ErrWrong},
		{"no password", access.Presented{Name: "ali"}, "", access.ErrWrong},
		{"one who has no password", access.Presented{Name: "bare"}, "", access.ErrWrong},
		{"nobody", access.Presented{Name: "baba", Password: []byte("open sesame")}, "", access.ErrUnknown},
		{"expired", access.Presented{Name: "late", Password: []byte("open sesame")}, "", access.ErrExpired},
		{"revoked", access.Presented{Name: "thief", Password: []byte("open sesame")}, "", access.ErrRevoked},
		{"revoked by certificate", access.Presented{Certificate: cert("thief")}, "", access.ErrRevoked},
		{"token", access.Presented{Token: token}, "ali", nil},
		{"wrong token", access.Presented{Token: token + "x"}, "", access.ErrUnknown},
		{"key", access.Presented{Key: someKey}, "key", nil},
		{"foreign key", access.Presented{Key: otherKey, Name: "key"}, "", access.ErrUnknown},
		{"certificate", access.Presented{Certificate: cert("panel-7")}, "panels", nil},
		{"certificate and name", access.Presented{Name: "panels", Certificate: cert("panel-7")}, "panels", nil},
		{"certificate and the name of another", access.Presented{Name: "ali", Certificate: cert("panel-7")}, "", access.ErrWrong},
		{"certificate and a password of one who has none", access.Presented{Name: "panels", Password: []byte("x"), Certificate: cert("panel-7")}, "panels", nil},
		{"certificate and its password", access.Presented{Name: "both", Password: []byte("open sesame"), Certificate: cert("both")}, "both", nil},
		{"certificate and its name alone", access.Presented{Name: "both", Certificate: cert("both")}, "both", nil},
		{"certificate and a wrong password", access.Presented{Name: "both", Password: []byte("open sesam"), Certificate: cert("both")}, "", access.ErrWrong},
		{"certificate that has expired since TLS saw it", access.Presented{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "panel-7"}, NotAfter: now.Add(-time.Second)}}, "", access.ErrOld},
		{"spiffe", access.Presented{Certificate: &x509.Certificate{URIs: []*url.URL{spiffe}, NotAfter: now.Add(time.Hour)}}, "panels", nil},
		{"foreign certificate", access.Presented{Certificate: cert("cabinet")}, "", access.ErrUnknown},
		{"nothing", access.Presented{}, "", access.ErrNoProof},
	} {
		id, err := d.Authenticate(tt.shown, now)
		switch {
		case !errors.Is(err, tt.err):
			t.Errorf("%s: %v, want %v", tt.what, err, tt.err)
		case err == nil && id.Name != tt.name:
			t.Errorf("%s: is %s, want %s", tt.what, id.Name, tt.name)
		}
	}
}

// Public halves of NATS user keys.
const (
	someKey  = "UAQXTFZFCUEIJS6Y4BG4R7TDNUIS7N5VJF2K7JNB7LDKOUD7PY73RSHK"
	otherKey = "UBVXYP5G6EVKKQG3YA6YDMXXFVLKQQZ3M3IEZBH3WSVNLGO3XMQ5GGHY"
)

func TestKeysAreChecked(t *testing.T) {
	for _, bad := range []string{"", someKey[1:], someKey[:55] + "A", "A" + someKey[1:], strings.ToLower(someKey)} {
		if _, err := access.New(nil, []access.Credentials{{Name: "x", Keys: []string{bad}}}, nil); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	if _, err := access.New(nil, []access.Credentials{{Name: "x", Keys: []string{someKey}}, {Name: "y", Keys: []string{someKey}}}, nil); err == nil {
		t.Error("two have one key")
	}
}

func TestAnonymous(t *testing.T) {
	p, err := access.New(roles, nil, []string{"viewer"})
	if err != nil {
		t.Fatal(err)
	}
	d := access.NewDoor()
	d.Set(p)
	id, err := d.Authenticate(access.Presented{}, time.Now())
	if err != nil || !id.May("data/x") || id.May("cmd/x/Y") || !id.Owns("any") {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := d.Authenticate(access.Presented{Name: access.Anonymous}, time.Now()); err == nil {
		t.Error("a name without a password is nobody's")
	}
}

// For each admitted client a new policy says whether it may stay.
func TestStill(t *testing.T) {
	hash := access.Hash([]byte("x"))
	was := policy(t, access.Credentials{Name: "a", Password: hash, Roles: []string{"viewer"}}, access.Credentials{Name: "b", Password: hash},
		access.Credentials{Name: "c", Password: hash}, access.Credentials{Name: "d", Password: hash})
	d := access.NewDoor()
	d.Set(policy(t, access.Credentials{Name: "a", Password: hash, Roles: []string{"operator"}}, access.Credentials{Name: "b", Password: hash, Revoked: true},
		access.Credentials{Name: "d", Password: access.Hash([]byte("x"))}))
	for name, stays := range map[string]bool{"a": true, "b": false, "c": false, "d": false} {
		id, err := was.Lookup(name, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		is, err := d.Recheck(id, time.Now())
		if (err == nil) != stays {
			t.Errorf("%s stays: %v (%v), want %v", name, err == nil, err, stays)
		}
		if name == "a" && !is.May("cmd/field/plc/Describe") {
			t.Error("who stays has his new roles")
		}
	}
}

func TestClientIDs(t *testing.T) {
	p := policy(t, access.Credentials{Name: "anna"}, access.Credentials{Name: "shelly", ClientIDs: []string{"shelly*", "x"}})
	for _, tt := range []struct {
		name, id string
		want     bool
	}{
		{"anna", "anna", true}, {"anna", "anna.panel", true}, {"anna", "anna:1", true}, {"anna", "anna-b", false}, {"anna", "bob", false}, {"anna", "", false},
		{"shelly", "shellyplus-12", true}, {"shelly", "x", true}, {"shelly", "xy", false},
	} {
		id, err := p.Lookup(tt.name, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got := id.Owns(tt.id); got != tt.want {
			t.Errorf("%s owns %q: %v, want %v", tt.name, tt.id, got, tt.want)
		}
	}
}

func TestBadConfigs(t *testing.T) {
	hash := access.Hash([]byte("x"))
	for _, tt := range []struct {
		who  access.Credentials
		want string
	}{
		{access.Credentials{Name: "a", Roles: []string{"vewer"}}, `there is no role "vewer"`},
		{access.Credentials{Name: "a", Password: "secret"}, "want a hash like"},
		{access.Credentials{Name: "a", Password: strings.Replace(hash, "m=7168", "m=9999999", 1)}, "at most m=65536"},
		{access.Credentials{Name: "a", Password: strings.Replace(hash, "argon2id", "argon2i", 1)}, "want a hash like"},
		{access.Credentials{Name: "a", Tokens: []string{"sha256:12"}}, "64 hexadecimal digits"},
		{access.Credentials{Name: "a", Certificates: []string{"panel"}}, "want CN:"},
		{access.Credentials{Name: "a", Certificates: []string{"CN:*"}}, "want CN:"},
		{access.Credentials{Name: "anonymous"}, "the name is used twice"},
		{access.Credentials{}, "the name is used twice"},
	} {
		if _, err := access.New(roles, []access.Credentials{tt.who}, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.who, err, tt.want)
		}
	}
	for _, pattern := range []string{"", "/a", "a//b", "a/", "#/a", "a+/b", "a#", "data/*", "data/>"} {
		if err := access.CheckPattern(pattern); err == nil {
			t.Errorf("pattern %q is taken", pattern)
		}
	}
}
