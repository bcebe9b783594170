package web_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/web"
)

// http2Client speaks only HTTP/2, without TLS.
func http2Client(t *testing.T) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// A stream that is silent for longer than a client may take to read goes on, with either version of
// HTTP.
func TestAQuietStreamGoesOn(t *testing.T) {
	const stall = 200 * time.Millisecond
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", Stall: stall,
		Call: func(ctx context.Context, _ web.Call, each func(web.Answer) error) error {
			for range 3 {
				if err := each(web.Answer{Payload: []byte("{}"), Stream: true}); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(3 * stall):
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for version, client := range map[string]*http.Client{"HTTP/1.1": {Timeout: time.Minute}, "HTTP/2.0": http2Client(t)} {
		connect, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+"/field/lab/erratic.v1.ErraticService/Count",
			strings.NewReader("\x00\x00\x00\x00\x02{}"))
		if err != nil {
			t.Fatal(err)
		}
		connect.Header.Set("Content-Type", "application/connect+json")
		said, err := client.Do(connect)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(said.Body)
		_ = said.Body.Close()
		// Including the end.
		if err != nil || strings.Contains(string(all), "error") || strings.Count(string(all), "{}") != 4 {
			t.Errorf("%s: %q, %v", version, all, err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+"/cmd/field/lab/Count", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(bufio.NewReader(answer.Body))
		_ = answer.Body.Close()
		if answer.Proto != version || err != nil || strings.Count(string(text), "event: answer") != 3 || !strings.Contains(string(text), "event: end") {
			t.Errorf("%s: %s: %q, %v", version, answer.Proto, text, err)
		}
	}
}

// A client that begins a request and sends no more of it loses its slot and its connection.
func TestWhoSendsNothingIsCutOff(t *testing.T) {
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", MaxClients: 2, MaxStreams: 1, Stall: 500 * time.Millisecond,
		Call: func(_ context.Context, _ web.Call, each func(web.Answer) error) error {
			return each(web.Answer{Payload: []byte("{}")})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, client := range []*http.Client{{Timeout: time.Minute, Transport: &http.Transport{}}, http2Client(t)} {
		body, never := io.Pipe()
		defer never.Close()
		go func() { _, _ = never.Write([]byte("{")) }()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+"/cmd/field/lab/Count", body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			t.Errorf("%s: half of a request was taken for a whole one", answer.Proto)
		}
		client.CloseIdleConnections()
	}
	// A request refused before it was read ends as well.
	for range 3 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST /nothing HTTP/1.1\r\nHost: gateway\r\nContent-Length: 9\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 404 ") {
			t.Errorf("%q, %v", text, err)
		}
	}
}
