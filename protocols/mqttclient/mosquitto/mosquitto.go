// Package mosquitto runs Debian's MQTT broker for a test that needs a real one.
package mosquitto

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	program  = "/usr/sbin/mosquitto"
	patience = time.Minute // until it listens
)

// Run runs it on a port of its own until the end of the test, open to everybody, and returns its host:port. config
// are further lines of its file.
func Run(t testing.TB, config ...string) (address string) {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Fatal("mosquitto is missing: apt-get install -y mosquitto")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	lines := append([]string{"user root", "listener " + port + " 127.0.0.1", "allow_anonymous true"}, config...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return address
		}
	}
	t.Fatal("mosquitto does not listen")
	return ""
}
