package dtu_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gatewayd/protocols/modbus/dtu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	*dtu.Listener
	registry *dtu.Registry
	refused  chan dtu.Refusal
	handed   chan *dtu.Caller
}

func listen(t *testing.T, change func(*dtu.Config)) *rig {
	t.Helper()
	cfg := dtu.Config{
		Listen: "127.0.0.1:0", Within: 30 * time.Second, Pending: 100, PendingPerAddress: 100, PerAddress: 100, RefusalsPerMinute: 100,
	}
	if change != nil {
		change(&cfg)
	}
	r := &rig{registry: &dtu.Registry{}, refused: make(chan dtu.Refusal, 256), handed: make(chan *dtu.Caller, 256)}
	l, err := dtu.Listen(cfg, r.registry, func(x dtu.Refusal) { r.refused <- x })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r.Listener = l
	return r
}

func (r *rig) claim(t *testing.T, name, id string) {
	t.Helper()
	c := &dtu.Claim{Name: name, ID: id, Hand: func(c *dtu.Caller) error { r.handed <- c; return nil }}
	if _, err := r.registry.Claim(c, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) call(t *testing.T, packets ...string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, p := range packets {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestWhoIsTurnedAway(t *testing.T) {
	for name, c := range map[string]struct {
		packets []string
		why     string
	}{
		"silent":   {nil, "no registration within 400ms"},
		"unknown":  {[]string{"ID:9999"}, "no dtu-link has this registration"},
		"longer":   {[]string{"ID:1234", "5"}, "no dtu-link has this registration"}, // 1234 is another DTU
		"no id":    {[]string{"ID:"}, "not a registration, which begins with ID:"},
		"http":     {[]string{"GET / HTTP/1.1\r\n\r\n"}, "not a registration, which begins with ID:"},
		"too long": {[]string{strings.Repeat("ID:1234", 100)}, "not a registration"},
	} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, func(cfg *dtu.Config) {
				cfg.Prefix = []byte("ID:")
				if len(c.packets) == 0 {
					cfg.Within = 400 * time.Millisecond
				}
			})
			r.claim(t, "a", "1234")
			conn := r.call(t, c.packets...)
			x := next(t, r.refused)
			if !strings.Contains(x.Why, c.why) || x.From.String() != conn.LocalAddr().String() || len(x.Sent) > 256 {
				t.Errorf("%+v", x)
			}
			if calls, _, n := r.Calls(); len(calls) != 0 || n != 1 {
				t.Error(calls, n)
			}
			if len(r.handed) > 0 {
				t.Error("it was let in")
			}
		})
	}
}

// A packet received byte by byte is the same packet, and bytes after a registration of known length
// do not matter.
func TestRegistrationInPieces(t *testing.T) {
	r := listen(t, func(c *dtu.Config) { c.Length, c.Within = 4, time.Minute })
	r.claim(t, "a", "1234")
	r.call(t, "1", "2", "3", "4", "HB")
	c := next(t, r.handed)
	if calls, _, _ := r.Calls(); len(calls) != 1 || calls[0].Name != "a" {
		t.Error(calls)
	}
	_ = c.Close()
	if calls, pending, _ := r.Calls(); len(calls) != 0 || pending != 0 {
		t.Error(calls, pending)
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dtu.Config)
		why    string
	}{
		"pending":             {func(c *dtu.Config) { c.Pending = 2 }, "too many connections: 2 have not registered yet"},
		"pending per address": {func(c *dtu.Config) { c.PendingPerAddress = 2 }, "too many connections from this address: 2 have not registered yet"},
		"per address":         {func(c *dtu.Config) { c.PerAddress = 2 }, "too many connections from this address: 2 are open"},
	} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, func(cfg *dtu.Config) { cfg.Within = time.Minute; c.change(cfg) })
			for range 3 {
				r.call(t)
			}
			if x := next(t, r.refused); x.Why != c.why {
				t.Error(x.Why)
			}
		})
	}
	t.Run("refusals", func(t *testing.T) {
		r := listen(t, func(cfg *dtu.Config) { cfg.RefusalsPerMinute = 2 })
		for range 2 {
			r.call(t, "who")
			next(t, r.refused)
		}
		r.call(t, "who")
		if x := next(t, r.refused); !strings.Contains(x.Why, "too many refused connections from this address: 2 within a minute") {
			t.Error(x.Why)
		}
	})
}

func TestOwnerWhoIsGoneGetsNothing(t *testing.T) {
	r := listen(t, nil)
	gone := &dtu.Claim{Name: "a", ID: "1234", Hand: func(*dtu.Caller) error { return errors.New("over") }}
	if _, err := r.registry.Claim(gone, time.Now()); err != nil {
		t.Fatal(err)
	}
	c := r.call(t, "1234")
	if x := next(t, r.refused); x.Why != "a cannot take the connection: over" {
		t.Error(x)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}
	if _, _, refused := r.Calls(); refused != 1 {
		t.Errorf("%d refusals", refused)
	}
	r.claim(t, "b", "5678")
	r.call(t, "5678")
	next(t, r.handed)
	r.Drop("b")
	if calls, _, _ := r.Calls(); len(calls) != 0 {
		t.Error(calls)
	}
}

func TestClaimsEnd(t *testing.T) {
	d, now := &dtu.Registry{}, time.Now()
	claim := func(name string, at time.Time) error {
		_, err := d.Claim(&dtu.Claim{Name: name, ID: "1"}, at)
		return err
	}
	if claim("a", now) != nil || claim("b", now.Add(dtu.Lease)) == nil || claim("a", now.Add(dtu.Lease)) != nil {
		t.Error("a claim lasts as long as its lease, and may be renewed")
	}
	if claim("b", now.Add(2*dtu.Lease)) == nil {
		t.Error("what was renewed lasts no longer for it")
	}
	if err := claim("b", now.Add(2*dtu.Lease+time.Second)); err != nil {
		t.Error(err)
	}
	d.Release("b")
	if err := claim("c", now); err != nil {
		t.Error(err)
	}
}

// An event shows a packet as it is written in the config.
func TestShownIsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "packet")
		if got, err := dtu.Bytes(dtu.Show(b)); err != nil || string(got) != string(b) {
			t.Fatalf("%x: %q, %v", b, dtu.Show(b), err)
		}
	})
}

func FuzzBytes(f *testing.F) {
	f.Add("0x0a1B")
	f.Add("REG:1")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := dtu.Bytes(s)
		if err == nil && len(b) > len(s) {
			t.Errorf("%q: %x", s, b)
		}
		_, _ = dtu.Source(s)
	})
}

// The owner of a DTU that calls from an address is never ambiguous: at most one of all claims
// matches it.
func TestNoTwoClaimsMeanOneAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, now := &dtu.Registry{}, time.Now()
		var claimed []netip.Prefix
		for i := range rapid.IntRange(1, 20).Draw(t, "claims") {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "last byte")})
			source := netip.PrefixFrom(addr, rapid.IntRange(24, 32).Draw(t, "bits")).Masked()
			if _, err := d.Claim(&dtu.Claim{Name: fmt.Sprint(i), Source: source}, now); err == nil {
				claimed = append(claimed, source)
			}
		}
		from, meant := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "caller")}), 0
		for _, s := range claimed {
			if s.Contains(from) {
				meant++
			}
		}
		if meant > 1 {
			t.Fatalf("%v is meant by %d of %v", from, meant, claimed)
		}
	})
}
