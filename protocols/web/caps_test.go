package web_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/protocols/access"
	"gatewayd/protocols/web"
)

// A request that is too large is refused however it is sent, and no actor is called.
func TestLargeRequestsAreRefused(t *testing.T) {
	var called atomic.Int64
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", MaxBody: 1024,
		Call: func(_ context.Context, _ web.Call, each func(web.Answer) error) error {
			called.Add(1)
			return each(web.Answer{Payload: []byte("{}")})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	large := `{"a":"` + strings.Repeat("x", 2000) + `"}`
	for name, x := range map[string]struct{ path, header, value, body, want string }{
		"by topic":             {"/cmd/lab/Do", "", "", large, "resource_exhausted"},
		"connect":              {"/lab/a.v1.S/Do", "Content-Type", "application/json", large, "resource_exhausted"},
		"server-sent events":   {"/cmd/lab/Do", "Accept", "text/event-stream", large, "resource_exhausted"},
		"connect, a stream":    {"/lab/a.v1.S/Do", "Content-Type", "application/connect+json", "\x00\x00\x00\x07\xd8" + large, "resource_exhausted"},
		"what is small enough": {"/cmd/lab/Do", "", "", "{}", "{}"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		if x.header != "" {
			r.Header.Set(x.header, x.value)
		}
		answer, err := (&http.Client{Timeout: time.Minute}).Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if !strings.Contains(string(text), x.want) {
			t.Errorf("%s: %s %.200q, want %s", name, answer.Status, text, x.want)
		}
	}
	if n := called.Load(); n != 1 {
		t.Errorf("%d calls were made, want 1", n)
	}
}

// Connections beyond the limit wait until there is room again, and silent clients lose their place.
func TestConnectionsAreCapped(t *testing.T) {
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", MaxClients: 1, Idle: 500 * time.Millisecond,
		Call: func(_ context.Context, _ web.Call, each func(web.Answer) error) error {
			return each(web.Answer{Payload: []byte("{}")})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func() net.Conn {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "POST /cmd/lab/Do HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answered := func(c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	first := ask()
	answered(first) // and stays, although it sends nothing more
	began := time.Now()
	answered(ask())
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("the second one was answered after %v, beside the first", took)
	}
}

// Connections of one address beyond its limit are closed and reported; other addresses, and the
// server's own check, find room.
func TestConnectionsOfOneAddressAreCapped(t *testing.T) {
	told := make(chan access.Refusal, 1)
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", MaxClientsPerAddress: 2,
		Refused: func(r access.Refusal) { told <- r },
		Call: func(_ context.Context, _ web.Call, each func(web.Answer) error) error {
			return each(web.Answer{Payload: []byte("{}")})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from := func(address string) (c net.Conn, err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		if c, err = d.DialContext(t.Context(), "tcp", s.Addr().String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "POST /cmd/lab/Do HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}")
		_, err = c.Read(make([]byte, 1))
		return c, err
	}
	first, err := from("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from("127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	if _, err := from("127.0.0.2"); err == nil {
		t.Fatal("a third one of the same address was answered")
	}
	if r := <-told; r.Reason != access.RefusedCrowd || !strings.HasPrefix(r.Remote, "127.0.0.2:") || r.Cause != "too many clients: 2 are connected from 127.0.0.2/32" {
		t.Errorf("told %+v", r)
	}
	for range 2 {
		if _, err := from("127.0.0.1"); err != nil {
			t.Errorf("one of another address: %v", err)
		}
	}
	if err := s.Look(t.Context()); err != nil {
		t.Errorf("the server's own look, which needs no place of this machine's: %v", err)
	}
	_ = first.Close()
	for _, err := from("127.0.0.2"); err != nil; _, err = from("127.0.0.2") {
		select {
		case <-told:
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}
