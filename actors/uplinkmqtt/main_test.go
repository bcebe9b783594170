package uplinkmqtt_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const patience = 30 * time.Second

// mosquitto runs Debian's broker with this config, until stop or the end of the test.
func mosquitto(t *testing.T, address, config string) (stop func()) {
	t.Helper()
	const program = "/usr/sbin/mosquitto"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("mosquitto is missing: apt-get install -y mosquitto")
	}
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, []byte("user root\nlistener "+port+" 127.0.0.1\n"+config), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-c", file)
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	stop = func() { cancel(); <-done }
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("mosquitto says:\n%s", &text)
		}
	})
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return stop
		}
	}
	t.Fatalf("mosquitto does not listen:\n%s", &text)
	return nil
}

// freePlace is where nobody listens.
func freePlace(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

const anybody = "allow_anonymous true\n"

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
