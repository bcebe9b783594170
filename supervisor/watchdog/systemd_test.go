package watchdog

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// manager is a service manager's notify socket.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func hear(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4096)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func env(pairs map[string]string) func(string) string {
	return func(k string) string { return pairs[k] }
}

func TestSystemdMessages(t *testing.T) {
	for kind, name := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@gatewayd-test-%d", time.Now().UnixNano()),
	} {
		t.Run(kind, func(t *testing.T) {
			m := manager(t, name)
			s, err := NewSystemd(env(map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}), 7)
			if err != nil {
				t.Fatal(err)
			}
			steps := []struct {
				do   func() error
				want string
			}{
				{s.Ready, ""},
				{func() error { return s.Grace(30 * time.Second) }, `^EXTEND_TIMEOUT_USEC=30000000$`},
				{func() error { d, err := s.Arm(); must(t, d == 30*time.Second); return err }, `^READY=1\nWATCHDOG=1$`},
				{func() error { _, err := s.Arm(); return err }, ""},
				{func() error { return s.Pet("ok") }, `^WATCHDOG=1\nSTATUS=ok$`},
				{func() error { return s.Pet("a\nREADY=1\x00\xff") }, `^WATCHDOG=1\nSTATUS=a READY=1 \?$`},
				{func() error { return s.Say("not petting: x") }, `^STATUS=not petting: x$`},
				{s.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`},
				{s.Ready, `^READY=1$`},
				{s.Stopping, `^STOPPING=1$`},
				{s.Stop, `^STOPPING=1$`},
			}
			for i, step := range steps {
				if err := step.do(); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if step.want == "" {
					continue
				}
				if got := hear(t, m); !regexp.MustCompile(step.want).MatchString(got) {
					t.Fatalf("step %d: got %q, want %q", i, got, step.want)
				}
			}
		})
	}
}

func must(t *testing.T, ok bool) {
	t.Helper()
	if !ok {
		t.Fatal("not so")
	}
}

func TestSystemdDialsAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := manager(t, name)
	s, err := NewSystemd(env(map[string]string{"NOTIFY_SOCKET": name}), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if d, err := s.Arm(); d != 0 || err != nil {
		t.Fatalf("arm: %s, %v", d, err)
	}
	hear(t, m)
	m.Close()
	if err := s.Pet("x"); err == nil {
		t.Fatal("no error without a manager")
	}
	must(t, os.Remove(name) == nil)
	m = manager(t, name)
	if err := s.Pet("y"); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, m); !strings.Contains(got, "STATUS=y") {
		t.Fatalf("got %q", got)
	}
}

// TestSystemdStuckManager: a manager that does not read must not hold up the keeper.
func TestSystemdStuckManager(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager(t, name)
	s, err := NewSystemd(env(map[string]string{"NOTIFY_SOCKET": name}), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for range 10000 {
		begun := time.Now()
		err = s.Pet(strings.Repeat("x", 500))
		if d := time.Since(begun); d > 20*notifyDeadline {
			t.Fatalf("a pet took %s", d)
		}
		if err != nil {
			return
		}
	}
	t.Fatal("the socket never filled")
}

func TestSystemdEnvironment(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		none bool
		bad  bool
		want time.Duration
	}{
		"not started by a manager": {env: nil, none: true},
		"no watchdog":              {env: map[string]string{"NOTIFY_SOCKET": "/x"}},
		"mine":                     {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "42"}, want: 1500 * time.Millisecond},
		"anybody's":                {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1500000"}, want: 1500 * time.Millisecond},
		"another's":                {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "43"}},
		"not a number":             {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, bad: true},
		"zero":                     {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, bad: true},
		"too long":                 {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "18446744073709551615"}, bad: true},
		"relative":                 {env: map[string]string{"NOTIFY_SOCKET": "x"}, bad: true},
		"vsock":                    {env: map[string]string{"NOTIFY_SOCKET": "vsock:2:1"}, bad: true},
		"only an at":               {env: map[string]string{"NOTIFY_SOCKET": "@"}, bad: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := NewSystemd(env(test.env), 42)
			if (err != nil) != test.bad || (s == nil) != (test.none || test.bad) {
				t.Fatalf("got %v, %v", s, err)
			}
			if s != nil && s.Timeout() != test.want {
				t.Fatalf("timeout %s, want %s", s.Timeout(), test.want)
			}
		})
	}
}
