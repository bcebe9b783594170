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

	"gatewayd/protocols/web"
)

// A request that is larger than it may be is refused however it comes, and nobody is called.
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

// Connections beyond the cap wait until there is room again, and who says nothing does not keep his.
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
	answered(first) // and stays, though it says nothing more
	began := time.Now()
	answered(ask())
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("the second one was answered after %v, beside the first", took)
	}
}
