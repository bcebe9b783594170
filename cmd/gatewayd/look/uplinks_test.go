package look

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/cmd/gatewayd/terminal"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// The table has what an operator wants to know of an uplink: how many records wait, their size and
// age, the rate, the last acknowledgement, the time left, and what is wrong. On a terminal a bar
// shows how much of a backlog is done.
func TestUplinksAsATable(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	all := []sending{
		{"uplinks/cloud", &uplinkv1.Status{
			State: "catching-up", Rate: 250, Acknowledged: ago(2 * time.Second), CatchUp: durationpb.New(time.Minute), Counts: &uplinkv1.Counts{Acknowledged: 45_000, Lost: 7},
			Backlog: &uplinkv1.Backlog{Records: 15_000, Bytes: 300 << 10, Oldest: ago(2 * time.Hour), Peak: 60_000},
		}},
		{"uplinks/dead", &uplinkv1.Status{
			State: "waiting", Why: "connection refused; again in 30s", Error: "connection refused", Counts: &uplinkv1.Counts{},
			Backlog: &uplinkv1.Backlog{Records: 9, Bytes: 500, Oldest: ago(time.Minute), Peak: 9},
		}},
	}
	var plain bytes.Buffer
	if _, err := printUplinks(&plain, all, now, terminal.Wrap); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(plain.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"NAME STATE WAITING SIZE AGE RATE LAST SENT LEFT WHY",
		"uplinks/cloud catching-up 15000 300 KiB 2h00m 250/s 2s 45000 1m00s 7 lost",
		"uplinks/dead waiting 9 500 B 1m00s – – 0 – connection refused; again in 30s",
	}
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if text := onATerminal(t, func(tty *os.File) error {
		_, err := printUplinks(tty, all, now, terminal.Wrap)
		return err
	}); !strings.Contains(text, "uplinks/cloud "+strings.Repeat("█", 30)+strings.Repeat("░", 10)+" 75 %") || strings.Count(text, "%") != 1 {
		t.Errorf("no bar, or more than one:\n%s", text)
	}
}

// onATerminal returns what do prints on a terminal, without colours.
func onATerminal(t *testing.T, do func(tty *os.File) error) string {
	t.Helper()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 200, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(terminal) // ends with an error when the other side is closed
		shown <- string(all)
	}()
	if err := do(tty); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	return regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(<-shown, "")
}
