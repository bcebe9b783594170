package accesscontrol_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/protocols/access"
	"gatewayd/protocols/pki"
	accessv1 "gatewayd/schemas/access/v1"
)

const path = "access"

func TestMain(m *testing.M) { actorstest.Main(m) }

func config() *accessv1.Access {
	return &accessv1.Access{
		Roles: []*accessv1.Role{{Name: "viewer", Allow: []string{"data/#"}}},
		Identities: []*accessv1.Identity{
			{Name: "anna", Roles: []string{"viewer"}, Password: access.Hash([]byte("anna's own"))},
			{Name: "past", Roles: []string{"viewer"}, Tokens: []string{access.Digest("x")}, Expires: "2020-01-01T00:00:00Z"},
		},
	}
}

func TestConforms(t *testing.T) { actorstest.Conform(t, accesscontrol.Kind, config()) }

func TestBadConfigsAreFoundBeforeTheyRun(t *testing.T) {
	for want, change := range map[string]func(*accessv1.Access){
		`there is no role "vewer"`:     func(c *accessv1.Access) { c.Identities[0].Roles = []string{"vewer"} },
		`write + for one level`:        func(c *accessv1.Access) { c.Roles[0].Allow = []string{"data/*"} },
		`is not a time like`:           func(c *accessv1.Access) { c.Identities[1].Expires = "2020-01-01T25:00:00Z" },
		`want a hash like`:             func(c *accessv1.Access) { c.Identities[0].Password = "$argon2id$" },
		`the same token as`:            func(c *accessv1.Access) { c.Identities[0].Tokens = c.Identities[1].Tokens },
		`anonymous: there is no role`:  func(c *accessv1.Access) { c.Anonymous = []string{"vewer"} },
		`identity anonymous: the name`: func(c *accessv1.Access) { c.Identities[0].Name = "anonymous" },
	} {
		cfg := config()
		change(cfg)
		var said []string
		for _, v := range accesscontrol.Kind.Check(cfg) {
			said = append(said, v.Error())
		}
		if all := strings.Join(said, "; "); !strings.Contains(all, want) {
			t.Errorf("found %q, want %q", all, want)
		}
	}
}

// A list or authority that is not a regular file, and might block a reader for ever, is reported at
// once.
func TestListsThatAreNoFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, revocation := range map[string]*accessv1.Revocation{
		"list":      {CaFile: "control_test.go", Lists: []string{pipe}},
		"authority": {CaFile: pipe, Lists: []string{"control_test.go"}},
	} {
		r, cfg := actorstest.New(t), config()
		cfg.Revocation = revocation
		cell := r.Start(path, accesscontrol.Kind, cfg)
		r.Until("the trouble with the "+name+" is told", func() bool {
			return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "pipe is not a regular file")
		})
		if len(r.Faults) > 0 {
			t.Errorf("%s: %v", name, <-r.Faults)
		}
	}
}

func TestListAndMay(t *testing.T) {
	r := actorstest.New(t)
	r.Start(path, accesscontrol.Kind, config())
	var got []string
	r.Until("a list and a policy", func() bool {
		l, err := actorstest.Call(r, path, "List", &accessv1.ListRequest{}, &accessv1.ListResponse{})
		if err != nil {
			return false
		}
		got = nil
		for _, id := range l.Identities {
			got = append(got, id.Name+" "+strings.Join(id.Proofs, "+")+" "+id.Status)
		}
		_, err = actorstest.Call(r, path, "May", &accessv1.MayRequest{Identity: "anna", Topic: "x"}, &accessv1.MayResponse{})
		return err == nil // the revocations are known
	})
	if all := strings.Join(got, ", "); all != "anna password in-force, past token expired" {
		t.Errorf("listed %q", all)
	}
	for _, tt := range []struct{ name, topic, why string }{
		{"anna", "data/x/y", ""}, {"anna", "cmd/x/Y", "no role allows it"}, {"past", "data/x/y", "expired"}, {"who", "data/x/y", "no such"},
	} {
		m, err := actorstest.Call(r, path, "May", &accessv1.MayRequest{Identity: tt.name, Topic: tt.topic}, &accessv1.MayResponse{})
		if err != nil || m.Allowed != (tt.why == "") || !strings.Contains(m.Why, tt.why) {
			t.Errorf("%s on %s: %v, %v", tt.name, tt.topic, m, err)
		}
	}
}

var now = time.Now()

// door requests every policy there is.
type door chan *access.Policy

func (d door) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		c.Ask(path, &access.PolicyRequest{}, time.Minute)
	case *access.Policy:
		d <- m
		c.Ask(path, &access.PolicyRequest{Have: m}, time.Minute)
	}
	return nil
}

func doorKind(got chan *access.Policy) actors.Kind {
	return actors.Define(actors.Kind{Name: "door", Doc: "lets in"}, func(*accessv1.ListRequest) actors.Actor { return door(got) })
}

// A listener gets the policy, and each later one.
func TestWishes(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, accesscontrol.Kind, config())
	got := make(chan *access.Policy, 4)
	r.Start("door", doorKind(got), &accessv1.ListRequest{})
	first := actorstest.Next(t, got)
	if id, err := first.Password("anna", []byte("anna's own"), now); err != nil || id.Name != "anna" {
		t.Errorf("%v, %v", id, err)
	}
	changed := config()
	changed.Identities = changed.Identities[1:]
	cell.Reconfigure(changed)
	if _, err := actorstest.Next(t, got).Lookup("anna", now); err == nil {
		t.Error("anna is still there")
	}
	if cell.State() != actors.OK {
		t.Errorf("the keeper is %s", cell.State())
	}
}

// With lenient lists a certificate that was on a list stays refused even if the config changes
// while the lists cannot be read.
func TestListsThatCannotBeReadWhenTheConfigChanges(t *testing.T) {
	a, err := pki.Create(t.TempDir(), "site", now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(pki.CertificateRequest{Name: "anna", Validity: time.Hour}, now)
	if err == nil {
		_, err = a.Revoke("anna", now)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, cfg := actorstest.New(t), config()
	cfg.Identities[0].Certificates = []string{"CN:anna"}
	cfg.Revocation = &accessv1.Revocation{CaFile: a.File("ca.crt"), Lists: []string{a.File("ca.crl")}, Lenient: true}
	changed := proto.Clone(cfg).(*accessv1.Access)
	changed.Identities[1].Name = "present"
	cell := r.Start(path, accesscontrol.Kind, cfg)
	got := make(chan *access.Policy, 4)
	r.Start("door", doorKind(got), &accessv1.ListRequest{})
	if _, err := actorstest.Next(t, got).Certificate(cert, now); !errors.Is(err, access.ErrListed) {
		t.Fatal(err)
	}
	if err := os.Remove(a.File("ca.crl")); err != nil {
		t.Fatal(err)
	}
	cell.Reconfigure(changed)
	for {
		p := actorstest.Next(t, got)
		if _, err := p.Certificate(cert, now); !errors.Is(err, access.ErrListed) {
			t.Errorf("it came in, or else: %v", err)
		}
		if _, err := p.Lookup("present", now); !errors.Is(err, access.ErrUnknown) {
			break // this is the new one
		}
	}
}
