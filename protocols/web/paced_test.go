package web_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/web"
)

// A client that requests much and reads nothing loses its slot.
func TestWhoReadsNothingIsCutOff(t *testing.T) {
	called := make(chan struct{}, 1)
	s, err := web.Start(web.Config{
		Listen: "127.0.0.1:0", MaxStreams: 1, Stall: 500 * time.Millisecond,
		Call: func(_ context.Context, _ web.Call, each func(web.Answer) error) error {
			called <- struct{}{}
			return each(web.Answer{Payload: make([]byte, 64<<20)})
		},
		Pages: map[string]http.HandlerFunc{"/long": func(w http.ResponseWriter, _ *http.Request) {
			called <- struct{}{}
			_, _ = io.Copy(w, strings.NewReader(strings.Repeat("x", 64<<20)))
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, head := range []string{
		"POST /cmd/field/lab/Count HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2",
		"GET /long HTTP/1.1",
	} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprint(c, head, "\r\nHost: gateway\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		<-called
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			answer, err := http.Get("http://" + s.Addr().String() + "/nothing")
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusNotFound {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: it keeps its place: %s", head, answer.Status)
			}
		}
	}
}
