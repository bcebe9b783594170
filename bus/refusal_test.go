package bus_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gatewayd/bus"
)

// Refusals of clients of the listener are reported, with the identity of the client if it is known.
func TestRefusalsAreTold(t *testing.T) {
	told := make(chan bus.Refusal, 64)
	h := &house{shown: make(chan bus.Presented, 16)}
	h.set(plant)
	b, _ := listening(t, func(c *bus.Config) {
		c.Guard, c.Refused = h.enter, func(r bus.Refusal) { told <- r }
	})
	expect := func(reason, guest, cause string) {
		t.Helper()
		select {
		case r := <-told:
			if r.Reason != reason || r.Guest != guest || !strings.Contains(r.Cause, cause) || !strings.HasPrefix(r.Remote, "127.0.0.1:") {
				t.Errorf("told %+v, want %s of %q: %s", r, reason, guest, cause)
			}
		case <-time.After(patience):
			t.Fatalf("%s is not told", reason)
		}
	}
	if nc, err := nats.Connect(b.Addr(), nats.UserInfo("eve", "x"), nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Fatal("eve is in")
	}
	expect(bus.RefusedCredentials, "", "nobody of that name")
	anna, _ := guest(t, b, "anna")
	if err := anna.Publish("gw.demo.cmd.root.Restart", nil); err != nil {
		t.Fatal(err)
	}
	expect(bus.RefusedTopic, "anna", `Publish Violation - Subject "gw.demo.cmd.root.Restart"`)
	if _, err := anna.SubscribeSync("gw.demo.cmd.>"); err != nil {
		t.Fatal(err)
	}
	expect(bus.RefusedTopic, "anna", `Subscription Violation - Subject "gw.demo.cmd.>"`)
	for _, x := range []struct{ says, reason, cause string }{
		{"GET / HTTP/1.1\r\n\r\n", bus.RefusedCredentials, "authentication error"},
		{"CONNECT {\"verbose\":false,\"user\":\"anna\",\"pass\":\"x\"}\r\nrubbish\r\n", bus.RefusedPacket, "parser ERROR"},
	} {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(x.says)); err != nil {
			t.Fatal(err)
		}
		who := ""
		if x.reason == bus.RefusedPacket {
			who = "anna"
		}
		expect(x.reason, who, x.cause)
	}
	if len(told) > 0 {
		t.Errorf("and then %+v", <-told)
	}
}

func TestRefusedHandshakesAreTold(t *testing.T) {
	told := make(chan bus.Refusal, 64)
	cert, _ := certificate(t)
	b, _ := listening(t, func(c *bus.Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		c.Refused = func(r bus.Refusal) { told <- r }
	})
	for what, knock := range map[string]func() error{
		"an old TLS": func() error {
			nc, err := nats.Connect("tls://"+b.Addr(), nats.Secure(&tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}), nats.MaxReconnects(0))
			if err == nil {
				nc.Close()
			}
			return err
		},
		"no TLS":       func() error { return say(t, b.Addr(), "GET / HTTP/1.1\r\n\r\n") },
		"no TLS, NATS": func() error { return say(t, b.Addr(), "CONNECT {\"verbose\":false}\r\nPING\r\n") },
	} {
		if err := knock(); err == nil {
			t.Fatalf("%s is spoken", what)
		}
		select {
		case r := <-told:
			if r.Reason != bus.RefusedStranger || r.Remote == "" || !strings.Contains(r.Cause, "TLS handshake error") {
				t.Errorf("%s: %+v", what, r)
			}
		case <-time.After(patience):
			t.Fatalf("%s is not told", what)
		}
	}
}

// say writes to a port and waits until the other side closes the connection.
func say(t *testing.T, addr, text string) error {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err = io.Copy(io.Discard, c); err == nil {
		err = io.EOF
	}
	return err
}
