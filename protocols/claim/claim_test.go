package claim_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/claim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is a gateway waiting to be claimed.
type gateway struct {
	*claim.Listener
	code    string
	claimed atomic.Int32
	refused chan string
}

func open(t *testing.T, change func(*claim.Config)) *gateway {
	t.Helper()
	g := &gateway{code: claim.NewCode(), refused: make(chan string, 64)}
	cfg := claim.Config{
		Listen: "127.0.0.1:0", Code: g.code, Until: time.Now().Add(time.Hour),
		Prepare: func(o claim.Request) (claim.Response, func() error, error) {
			if o.Operator == "" {
				return claim.Response{}, nil, errors.New("who?")
			}
			return claim.Response{CA: []byte("ca"), Certificate: []byte("of " + o.Operator)}, func() error { g.claimed.Add(1); return nil }, nil
		},
		Claimed: func(string, string) {},
		Refused: func(_ string, why error) { g.refused <- why.Error() },
	}
	if change != nil {
		change(&cfg)
	}
	l, err := claim.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.Listener = l
	t.Cleanup(func() { _ = l.Close() })
	return g
}

func try(t *testing.T, addr, code, operator string) (kept string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = claim.Claim(ctx, addr, code, claim.Request{Operator: operator, Time: time.Now()}, func(p claim.Response) error {
		kept = string(p.Certificate)
		return nil
	})
	return kept, err
}

func wants(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	g := open(t, nil)
	typed := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(g.code, "-", " "), "0", "o"))
	if !claim.IsCode(typed) || claim.IsCode("K7QM-2XRD") || claim.IsCode(g.code+"0") {
		t.Error("what is a code?")
	}
	kept, err := try(t, g.Addr(), typed, "anna")
	if err != nil || kept != "of anna" || g.claimed.Load() != 1 {
		t.Fatal(kept, err)
	}
	_, err = try(t, g.Addr(), g.code, "eve")
	wants(t, err, "valid once")
	if g.claimed.Load() != 1 {
		t.Error("claimed twice")
	}
}

func TestWrongCodesTakeTime(t *testing.T) {
	g := open(t, nil)
	_, err := try(t, g.Addr(), claim.NewCode(), "eve")
	wants(t, err, "wrong code: try again in 1s with the one that the gateway shows")
	wants(t, errors.New(<-g.refused), "wrong code")
	_, err = try(t, g.Addr(), g.code, "eve") // from the same host, right or not
	wants(t, err, "the last code from this address was wrong: try again in")
	for _, err = try(t, g.Addr(), g.code, "anna"); err != nil && strings.Contains(err.Error(), "try again in"); _, err = try(t, g.Addr(), g.code, "anna") {
		time.Sleep(50 * time.Millisecond) // as it is told to
	}
	if err != nil {
		t.Error(err)
	}
}

func TestExpiredCode(t *testing.T) {
	g := open(t, func(c *claim.Config) { c.Until = time.Now().Add(-time.Second) })
	_, err := try(t, g.Addr(), g.code, "anna")
	wants(t, err, "expired")
}

// A gateway is unclaimed until its owner has the papers, and an error before that leaves it so.
func TestNobodysUntilKept(t *testing.T) {
	g := open(t, nil)
	_, err := try(t, g.Addr(), g.code, "")
	wants(t, err, "who?")
	err = claim.Claim(t.Context(), g.Addr(), g.code, claim.Request{Operator: "anna", Time: time.Now()}, func(claim.Response) error { return errors.New("disk full") })
	wants(t, err, "disk full")
	err = claim.Claim(t.Context(), g.Addr(), g.code, claim.Request{Operator: "anna", Time: time.Now().AddDate(-30, 0, 0)}, func(claim.Response) error { return nil })
	wants(t, err, "clock")
	for range 3 {
		t.Log(<-g.refused)
	}
	if g.claimed.Load() != 0 {
		t.Error("claimed")
	}
	if kept, err := try(t, g.Addr(), g.code, "anna"); err != nil || kept != "of anna" {
		t.Error(kept, err)
	}
}

// A man in the middle, with TLS to either side, learns nothing and can prove nothing.
func TestManInTheMiddle(t *testing.T) {
	g := open(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS13})
		client, err := tls.Dial("tcp", g.Addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err != nil {
			return
		}
		defer client.Close()
		go func() { _, _ = io.Copy(client, server) }()
		_, _ = io.Copy(server, client)
	}()
	kept, err := try(t, l.Addr().String(), g.code, "anna")
	wants(t, err, "wrong code") // the gateway says so, of a proof for another connection
	if kept != "" || g.claimed.Load() != 0 {
		t.Error("he got in")
	}
	<-over
}

// A server that only pretends to be the gateway is sent nothing.
func TestWhoIsNotTheGateway(t *testing.T) {
	g := open(t, nil)
	_, err := try(t, g.Addr(), g.code, "x")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan int, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		n, _ := c.Read(buf) // length of the proof
		_, _ = c.Write([]byte("\x00\x00\x00\x10{\"proof\":\"YWJj\"}"))
		rest, _ := io.ReadAll(c)
		heard <- n + len(rest)
	}()
	_, err = try(t, l.Addr().String(), claim.NewCode(), "anna")
	wants(t, err, "does not know the code")
	if n := <-heard; n > 200 { // a proof, no order
		t.Errorf("%d bytes were sent to a stranger", n)
	}
}

func TestStrangersAndCrowds(t *testing.T) {
	g := open(t, nil)
	for range 20 { // more than the limit; they send nothing or garbage
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		defer c.Close()
	}
	<-g.refused
	if _, err := try(t, g.Addr(), g.code, "anna"); err != nil {
		t.Error(err)
	}
}
