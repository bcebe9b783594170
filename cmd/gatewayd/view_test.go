package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// The view fits any terminal, whatever there is to show.
func TestViewFits(t *testing.T) {
	states := []string{"ok", "starting", "degraded", "unreachable", "failed", "quarantined", "stopped", "new"}
	rapid.Check(t, func(t *rapid.T) {
		n := newNews(nil)
		for _, p := range rapid.SliceOfN(path, 0, 40).Draw(t, "paths") {
			h := &actorv1.Health{Kind: "x", State: rapid.SampledFrom(states).Draw(t, "state"), Cause: rapid.String().Draw(t, "cause"), Since: timestamppb.Now()}
			n.update(func() { n.hear(p, h) })
		}
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		lines := frame(n, []string{"try this", "and that"}, "mqtt://x", height, time.Now(), time.Hour)
		if len(lines) > height {
			t.Fatalf("%d lines on a terminal of %d", len(lines), height)
		}
		s := &screen{}
		for _, l := range lines {
			if text := s.fit(l, width); utf8.RuneCountInString(text) > width || strings.ContainsAny(text, "\x1b\r\n") {
				t.Fatalf("%q on a terminal of %d columns", text, width)
			}
		}
	})
}

func TestRate(t *testing.T) {
	begin := time.Unix(1000, 0)
	tr := &traffic{}
	for i := range 100 {
		tr.count(begin.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	if got := tr.rate(begin.Add(10 * time.Second)); got != 10 {
		t.Errorf("rate is %g, want 10", got)
	}
	if got := tr.rate(begin.Add(20 * time.Second)); got != 0 {
		t.Errorf("rate long after is %g, want 0", got)
	}
}

func TestHealedIsTold(t *testing.T) {
	text, err := bus.Marshal(bus.JSON, &actorv1.Healed{Child: "a/b", Level: "cycle", Attempt: 1, Left: 2, Cause: "hangs"})
	if err != nil {
		t.Fatal(err)
	}
	m := bus.Msg{Subject: "gw.demo.event.a.healed", ContentType: bus.JSON, Data: text}
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		t.Fatal(err)
	}
	l, worth := eventLine(a, m)
	if want := "healing: cycle no. 1, 2 left, because: hangs"; !worth || l.who != "a/b" || l.what != want {
		t.Errorf("got %v %q %q, want %q", worth, l.who, l.what, want)
	}
}

// On a terminal the demo shows the tree on the other page, follows the size and
// gives the terminal back on Ctrl-C.
func TestDemoOnATerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "gatewayd") // the name is what makes it the program, see TestMain
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
	await(t, terminal, seen, `(?s)Try.*  gatewayd watch .*  mosquitto_sub .*  gatewayd call [^\n]* field/plc/mixer`) // all three on 24 lines
	if err := pty.Setsize(terminal, &pty.Winsize{Cols: 200, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	seen.Reset()
	await(t, terminal, seen, `WriteRegisters '\{"address":10,"values":\[42\]\}'`) // whole only on a wide terminal
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
