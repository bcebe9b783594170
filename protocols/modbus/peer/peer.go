// Package peer runs Modbus implementations of others, for tests.
package peer

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	install  = "apt-get install -y gcc libc6-dev libmodbus-dev python3-pymodbus python3-serial"
	patience = 2 * time.Minute // with a client
)

// Libmodbus compiles a C program with Debian's libmodbus and returns its command line.
func Libmodbus(t testing.TB, source string) (argv []string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "peer")
	if text, err := exec.Command("gcc", "-O1", "-o", program, source, "-I/usr/include/modbus", "-lmodbus").CombinedOutput(); err != nil {
		t.Fatalf("libmodbus or a compiler is missing: %s\n%v %s", install, err, text)
	}
	return []string{program}
}

// Pymodbus returns the command line that runs a script with Debian's interpreter, which has
// Debian's pymodbus.
func Pymodbus(t testing.TB, script string) (argv []string) {
	t.Helper()
	const interpreter = "/usr/bin/python3"
	if text, err := exec.Command(interpreter, "-c", "import pymodbus, serial").CombinedOutput(); err != nil {
		t.Fatalf("pymodbus is missing: %s\n%s", install, text)
	}
	return []string{interpreter, script}
}

// Start runs a server until the test ends.
func Start(t testing.TB, argv ...string) {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	text := &strings.Builder{}
	c.Stdout, c.Stderr = text, text
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", argv, text)
		}
	})
}

// Run runs a client, which must succeed, and returns its output.
func Run(t testing.TB, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", argv, err, text)
	}
	return string(text)
}
