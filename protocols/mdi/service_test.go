package mdi

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gatewayd/protocols/srv"
	"gatewayd/protocols/uplink"
)

// The receiver is found by its SRV record, past a target where nobody listens.
func TestServiceByDNS(t *testing.T) {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/dnsmasq"); err != nil {
			t.Fatal("dnsmasq is missing: apt-get install -y dnsmasq-base")
		}
	}
	e := newEnd(t, nil, false)
	_, receiver, _ := net.SplitHostPort(e.address)
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := u.LocalAddr().(*net.UDPAddr).Port
	u.Close()
	const name = "_mdi._tcp.example.com"
	c := exec.Command(program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=", "--listen-address=127.0.0.1",
		"--bind-interfaces", fmt.Sprint("--port=", port), "--local=/example.com/", "--host-record=a.example.com,127.0.0.1",
		"--srv-host="+name+",a.example.com,1,1,1", "--srv-host="+name+",a.example.com,"+receiver+",2,1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	r := srv.Resolver{File: filepath.Join(t.TempDir(), "resolv.conf"), Port: uint16(port)}
	if err := os.WriteFile(r.File, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSession(patience)
	for ctx := soon(t); ; {
		x, err := s.Dial(ctx, Target{Service: name, Resolver: r}, uplink.Hear{})
		if err != nil && ctx.Err() == nil {
			continue // dnsmasq is just starting
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Send(ctx, meterRecords(3)); err != nil {
			t.Fatal(err)
		}
		_ = x.Close()
		break
	}
	e.has(t, 3)
}
