package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/creack/pty"
)

// On a terminal the demo shows the tree on the alternate screen, follows changes of size and
// restores the terminal on Ctrl-C.
func TestDemoOnATerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "gatewayd") // by this name it runs the program, see TestMain
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "demo", "--bus", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--modbus", "127.0.0.1:0", "--gateway", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "TERM=xterm", "TMPDIR="+t.TempDir(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	seen := &bytes.Buffer{}
	await(t, terminal, seen, `\x1b\[\?1049h`)
	await(t, terminal, seen, `(?s)meter-1.{0,40}● ok.{0,60} V `)
	await(t, terminal, seen, `(?s)Try.*  gatewayd watch .*  mosquitto_sub .*  gatewayd call [^\n]* field/plc/mixer`) // all three fit on 24 lines
	if err := pty.Setsize(terminal, &pty.Winsize{Cols: 200, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	seen.Reset()
	await(t, terminal, seen, `WriteRegisters '\{"address":10,"values":\[42\]\}'`) // complete only on a wide terminal
	fmt.Fprint(terminal, "\x03")
	await(t, terminal, seen, `\x1b\[\?25h\x1b\[\?1049l`)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func await(t *testing.T, terminal *os.File, seen *bytes.Buffer, want string) {
	t.Helper()
	re := regexp.MustCompile(want)
	if err := terminal.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); !re.Match(seen.Bytes()); {
		n, err := terminal.Read(buf)
		seen.Write(buf[:n])
		if err != nil && !re.Match(seen.Bytes()) {
			t.Fatalf("%s was not seen: %v; at last:\n%s", want, err, seen.Bytes()[max(0, seen.Len()-3000):])
		}
	}
}
