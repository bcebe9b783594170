package access_test

import (
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/access"
)

// cases is the number of questions put to both the engine and the model.
const cases = 1_000_000

// model is another implementation of patterns: regular expressions.
func model(patterns []string) *regexp.Regexp {
	var all []string
	for _, p := range patterns {
		p = regexp.QuoteMeta(p)
		p = strings.ReplaceAll(p, `\+`, `[^/]+`)
		if p == "#" {
			p = ".+"
		} else if rest, ok := strings.CutSuffix(p, "/#"); ok {
			p = rest + "/.+"
		}
		all = append(all, "^"+p+"$")
	}
	if len(all) == 0 {
		return regexp.MustCompile(`^\z.`) // matches nothing
	}
	return regexp.MustCompile(strings.Join(all, "|"))
}

func some(r *rand.Rand, wild bool) string {
	levels := []string{"a", "b", "c"}
	if wild {
		levels = append(levels, "+")
	}
	n := 1 + r.IntN(4)
	out := make([]string, n)
	for i := range out {
		out[i] = levels[r.IntN(len(levels))]
	}
	if wild && r.IntN(3) == 0 {
		out[n-1] = "#"
	}
	return strings.Join(out, "/")
}

func several(r *rand.Rand) []string {
	out := make([]string, r.IntN(4))
	for i := range out {
		out[i] = some(r, true)
	}
	return out
}

func TestAgainstModel(t *testing.T) {
	n := cases
	if testing.Short() {
		n /= 20
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	picks := map[string]*regexp.Regexp{}
	pick := func(filter string) *regexp.Regexp {
		if picks[filter] == nil {
			picks[filter] = model([]string{filter})
		}
		return picks[filter]
	}
	for done := 0; done < n; {
		role := []access.Role{{Name: "x", Allow: several(r), Deny: several(r)}, {Name: "y", Allow: several(r), Deny: several(r)}}
		p, err := access.New(role, []access.Credentials{{Name: "who", Roles: []string{"x", "y"}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		id, err := p.Lookup("who", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		allow, deny := model(append(role[0].Allow, role[1].Allow...)), model(append(role[0].Deny, role[1].Deny...))
		for range 1000 {
			done++
			topic, filter := some(r, false), some(r, true)
			want := allow.MatchString(topic) && !deny.MatchString(topic)
			if got := id.May(topic); got != want {
				t.Fatalf("seed %d: %+v may use %s: %v, want %v", seed, role, topic, got, want)
			}
			if pick(filter).MatchString(topic) && want && !id.MaySubscribe(filter) {
				t.Fatalf("seed %d: %+v may hear %s but not subscribe to %s", seed, role, topic, filter)
			}
		}
	}
}

// The reference implementation agrees on the hashes.
func TestHashAgainstArgon2(t *testing.T) {
	tool, err := exec.LookPath("argon2")
	if err != nil {
		t.Fatal("argon2 is missing: apt-get install -y argon2")
	}
	cmd := exec.Command(tool, "pinch of salt", "-id", "-t", "3", "-k", "4096", "-p", "2", "-l", "24", "-e")
	cmd.Stdin = strings.NewReader("pâss w0rd")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	stored := strings.TrimSpace(string(out))
	for password, want := range map[string]bool{"pâss w0rd": true, "pass w0rd": false, "": false} {
		got, err := access.Verify(stored, []byte(password))
		if err != nil || got != want {
			t.Errorf("%q is the password of %s: %v (%v), want %v", password, stored, got, err, want)
		}
	}
	own := access.Hash([]byte("x"))
	if same := access.Hash([]byte("x")); same == own {
		t.Error("two hashes have the same salt")
	}
	if ok, err := access.Verify(own, []byte("x")); !ok || err != nil {
		t.Errorf("own hash %s: %v, %v", own, ok, err)
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "CN:a*b*c", "a/+/#", "aXbXc")
	f.Fuzz(func(t *testing.T, hash, name, pattern, text string) {
		p, err := access.New([]access.Role{{Name: "r", Allow: []string{pattern}}},
			[]access.Credentials{{Name: "x", Roles: []string{"r"}, Password: hash, Certificates: []string{name}, ClientIDs: []string{name}}}, nil)
		if err != nil {
			return
		}
		id, err := p.Lookup("x", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if id.May(text) && !id.MaySubscribe(text) {
			t.Fatalf("%q may be used, and is not heard, by %q", text, pattern)
		}
		_ = id.Owns(text)
	})
}
