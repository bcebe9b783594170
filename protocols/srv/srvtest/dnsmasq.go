// Package srvtest runs Debian's dnsmasq for tests that need a name server with SRV records.
package srvtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/srv"
)

// Host is the host of every target; its address is 127.0.0.1.
const Host = "a.example.com"

const patience = time.Minute

// Run runs a name server until the test ends, in which a service has targets at these ports of
// Host, in order of priority.
func Run(t testing.TB, service string, ports ...string) srv.Resolver {
	t.Helper()
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/dnsmasq"); err != nil {
			t.Fatal("dnsmasq is missing: apt-get install -y dnsmasq-base")
		}
	}
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=", "--listen-address=127.0.0.1",
		"--bind-interfaces", fmt.Sprint("--port=", port), "--local=/example.com/", "--host-record=" + Host + ",127.0.0.1",
	}
	for i, p := range ports {
		arguments = append(arguments, fmt.Sprintf("--srv-host=%s,%s,%s,%d,1", service, Host, p, i+1))
	}
	words, ended := &bytes.Buffer{}, make(chan struct{})
	c := exec.Command(program, arguments...)
	c.Stdout, c.Stderr = words, words
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { _ = c.Wait(); close(ended); cancel() }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("dnsmasq says:\n%s", words)
		}
	})
	r := srv.Resolver{File: filepath.Join(t.TempDir(), "resolv.conf"), Port: uint16(port)}
	if err := os.WriteFile(r.File, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for err = ctx.Err(); ctx.Err() == nil; {
		if _, err = r.Lookup(ctx, service); err == nil {
			return r
		}
	}
	t.Fatalf("dnsmasq does not answer: %v", err)
	return r
}
