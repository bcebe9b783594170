package mqtt

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install -y %s", program, pkg)
	}
	return path
}

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

func output(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	b, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, b)
	}
	return strings.TrimSpace(string(b))
}

func hostPort(s *Server) []string {
	host, port, _ := net.SplitHostPort(s.Addr().String())
	return []string{"-h", host, "-p", port}
}

// events returns a callback and a function that waits for one kind of event.
func events(t testing.TB) (func(SessionEvent), func(SessionKind) SessionEvent) {
	ch := make(chan SessionEvent, 4096)
	wait := func(k SessionKind) SessionEvent {
		t.Helper()
		for {
			select {
			case e := <-ch:
				if e.Kind == k {
					return e
				}
			case <-time.After(patience):
				t.Fatalf("no session event %q", k)
			}
		}
	}
	return func(e SessionEvent) { ch <- e }, wait
}

func TestMosquittoSubscriberGetsWhatTheOwnerPublishes(t *testing.T) {
	sub := need(t, "mosquitto_sub", "mosquitto-clients")
	for _, ver := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(ver+" qos "+qos, func(t *testing.T) {
				tell, wait := events(t)
				s := start(t, Config{OnSession: tell})
				if err := s.Publish("state/a", []byte("kept"), true, Properties{}); err != nil {
					t.Fatal(err)
				}
				c := command(t, sub, append(hostPort(s), "-V", ver, "-q", qos, "-i", "me", "-t", "state/#", "-t", "data/#", "-C", "2", "-v")...)
				got := make(chan string, 1)
				go func() { b, _ := c.CombinedOutput(); got <- strings.TrimSpace(string(b)) }()
				wait(SessionSubscribed)
				if err := s.Publish("data/x/y", []byte("live"), false, Properties{}); err != nil {
					t.Fatal(err)
				}
				out := <-got
				if !strings.Contains(out, "state/a kept") || !strings.Contains(out, "data/x/y live") {
					t.Fatalf("mosquitto_sub said %q", out)
				}
			})
		}
	}
}

func TestMosquittoRequestResponse(t *testing.T) {
	rr := need(t, "mosquitto_rr", "mosquitto-clients")
	var self atomic.Pointer[Server]
	s := start(t, Config{Authorize: DefaultAuthorize, OnPublish: func(c ClientInfo, p Publish) error {
		return self.Load().Respond(c, p, []byte("answer to "+string(p.Payload)+" "+string(p.CorrelationData)), Properties{ContentType: "text/plain"})
	}})
	self.Store(s)
	out := output(t, command(t, rr, append(hostPort(s), "-V", "mqttv5", "-i", "me", "-t", "cmd/radio/wlan0/SetMode", "-e", "reply/me/1",
		"-m", "ap", "-D", "publish", "correlation-data", "c-17", "-F", "%p|%C|%D", "-W", "5")...))
	if out != "answer to ap c-17|text/plain|c-17" {
		t.Fatalf("mosquitto_rr said %q", out)
	}
}

func TestMosquittoPublishReachesTheOwner(t *testing.T) {
	pub := need(t, "mosquitto_pub", "mosquitto-clients")
	for _, ver := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(ver+" qos "+qos, func(t *testing.T) {
				got := make(chan Publish, 1)
				s := start(t, Config{OnPublish: func(_ ClientInfo, p Publish) error { got <- p; return nil }})
				output(t, command(t, pub, append(hostPort(s), "-V", ver, "-q", qos, "-t", "cmd/a/Do", "-m", "x")...))
				if p := <-got; p.Topic != "cmd/a/Do" || string(p.Payload) != "x" {
					t.Fatalf("got %+v", p)
				}
			})
		}
	}
}
