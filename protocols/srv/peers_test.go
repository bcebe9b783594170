package srv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// many is a number of targets whose answer is too large for UDP.
const many = 30

// program runs a name server on a free port of 127.0.0.1 until the test ends, and returns a
// resolver for it once it has answered.
func program(t *testing.T, name, install string, arguments func(dir string, port int) []string) Resolver {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Fatalf("%s is missing: %s", name, install)
		}
	}
	u, l, port := sockets(t, "127.0.0.1", 0)
	u.Close()
	l.Close()
	c := exec.Command(path, arguments(t.TempDir(), port)...)
	text := &strings.Builder{}
	c.Stdout, c.Stderr = text, text
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, text)
		}
	})
	r := resolver(t, port, "nameserver 127.0.0.1", "options timeout:1 attempts:1")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, err = r.Lookup(ctx, service); err == nil {
			write(t, r, "nameserver 127.0.0.1")
			return r
		}
	}
	t.Fatalf("%s does not answer: %v", name, err)
	return r
}

func TestDnsmasq(t *testing.T) {
	r := program(t, "dnsmasq", "apt-get install -y dnsmasq-base", func(_ string, port int) []string {
		all := []string{
			"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces",
			fmt.Sprintf("--port=%d", port), "--local=/example.com/",
			"--srv-host=" + service + ",b.example.com,5002,20,1", "--srv-host=" + service + ",a.example.com,5001,10,1",
			"--host-record=a.example.com,127.0.0.11,::1", "--host-record=b.example.com,127.0.0.12",
			"--cname=alias.example.com,a.example.com", "--srv-host=_off._tcp.example.com",
		}
		for i := range many {
			host := hostOfMany(i)
			all = append(all, fmt.Sprintf("--srv-host=_many._tcp.example.com,%s,%d,%d,1", host, 5000+i, i), fmt.Sprintf("--host-record=%s,127.0.1.%d", host, i+1))
		}
		return all
	})
	agree(t, r)
}

func TestBind(t *testing.T) {
	r := program(t, "named", "apt-get install -y bind9", func(dir string, port int) []string {
		zone := &strings.Builder{}
		fmt.Fprintf(zone, `$TTL 60
@ IN SOA ns.example.com. root.example.com. 1 60 60 60 60
@ IN NS ns.example.com.
ns IN A 127.0.0.1
_mdi._tcp IN SRV 20 1 5002 b.example.com.
_mdi._tcp IN SRV 10 1 5001 a.example.com.
_off._tcp IN SRV 0 0 0 .
a IN A 127.0.0.11
a IN AAAA ::1
b IN A 127.0.0.12
alias IN CNAME a
_alias._tcp IN CNAME _mdi._tcp
`)
		for i := range many {
			fmt.Fprintf(zone, "_many._tcp IN SRV %d 1 %d %s.\n%s. IN A 127.0.1.%d\n", i, 5000+i, hostOfMany(i), hostOfMany(i), i+1)
		}
		file := filepath.Join(dir, "zone")
		conf := fmt.Sprintf(`options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
 recursion no; dnssec-validation no; };
controls { };
zone "example.com" { type primary; file %q; };
`, dir, port, file)
		for name, text := range map[string]string{file: zone.String(), filepath.Join(dir, "named.conf"): conf} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return []string{"-g", "-n", "1", "-c", filepath.Join(dir, "named.conf")}
	})
	agree(t, r)
	got, err := r.Lookup(within(t), "_alias._tcp.example.com")
	if err != nil || len(got) != 2 {
		t.Errorf("a service that is an alias: %v, %v", got, err)
	}
}

func hostOfMany(i int) string {
	return fmt.Sprintf("a-host-of-many-with-a-long-name-that-takes-its-room-%d.example.com", i)
}

// agree checks the answers that every server must give.
func agree(t *testing.T, r Resolver) {
	t.Helper()
	got, err := r.Lookup(within(t), service)
	if err != nil || fmt.Sprint(got) != "[{a.example.com 5001 10 1 [::1 127.0.0.11]} {b.example.com 5002 20 1 [127.0.0.12]}]" &&
		fmt.Sprint(got) != "[{a.example.com 5001 10 1 [127.0.0.11 ::1]} {b.example.com 5002 20 1 [127.0.0.12]}]" {
		t.Errorf("%s: %v, %v", service, got, err)
	}
	addrs, err := r.Host(within(t), "alias.example.com")
	if err != nil || fmt.Sprint(addrs) != "[::1 127.0.0.11]" {
		t.Errorf("alias: %v, %v", addrs, err)
	}
	got, err = r.Lookup(within(t), "_many._tcp.example.com")
	if err != nil || len(got) != many {
		t.Fatalf("many: %d, %v", len(got), err)
	}
	for i, x := range got {
		if x.Host != hostOfMany(i) || x.Port != uint16(5000+i) || fmt.Sprint(x.Addrs) != fmt.Sprintf("[127.0.1.%d]", i+1) {
			t.Errorf("many %d: %v", i, x)
		}
	}
	for name, want := range map[string]error{"_off._tcp.example.com": ErrNotOffered, "_none._tcp.example.com": ErrNotFound} {
		if _, err := r.Lookup(within(t), name); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
