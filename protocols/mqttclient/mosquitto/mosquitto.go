// Package mosquitto runs Debian's MQTT broker for tests that need a real one.
package mosquitto

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
)

const (
	program  = "/usr/sbin/mosquitto"
	patience = time.Minute // until it listens
)

// Anybody is the config line that admits clients without credentials.
const Anybody = "allow_anonymous true"

// Run runs the broker on a free port until the end of the test, open to all clients, and returns
// its host:port. config are further lines of its config.
func Run(t testing.TB, config ...string) (address string) {
	t.Helper()
	address = freeport.Address(t)
	Start(t, address, append([]string{Anybody}, config...)...)
	return address
}

// Start runs the broker at a host:port with these config lines until stop, which lets it write its
// data, or until the end of the test.
func Start(t testing.TB, address string, config ...string) (stop func()) {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Fatal("mosquitto is missing: apt-get install -y mosquitto")
	}
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	lines := append([]string{"user root", "listener " + port + " 127.0.0.1"}, config...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var words bytes.Buffer
	cmd := exec.Command(program, "-c", file)
	cmd.Stdout, cmd.Stderr = &words, &words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("mosquitto says:\n%s", &words)
		}
	})
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return stop
		}
		select {
		case <-ended:
			t.Fatal("mosquitto does not start")
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatal("mosquitto does not listen")
	return nil
}
