package watchdog

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/durable"
)

// TestKillNine kills real processes that write their record all the time. None of them may look
// clean, damaged or like another boot.
func TestKillNine(t *testing.T) {
	if dir := os.Getenv("GATEWAYD_TEST_VICTIM"); dir != "" {
		victim(dir)
	}
	dir := t.TempDir()
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillNine$")
		cmd.Env = append(os.Environ(), "GATEWAYD_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err == nil && cmd.Start() == nil)
		lines := bufio.NewScanner(out)
		for range round + 1 {
			must(t, lines.Scan())
		}
		must(t, cmd.Process.Kill() == nil)
		cmd.Wait()
		var r Record
		if err := durable.Load(filepath.Join(dir, RecordFile), &r); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		b, p := Open(BookConfig{Dir: dir})
		if p.Outcome != Crashed || p.NewBoot || !p.Record.Complete {
			t.Fatalf("round %d: %+v", round, p)
		}
		b.healthy() // so that the rounds do not end in safe mode
		must(t, b.Close(true) == nil)
	}
}

// victim writes until it is killed.
func victim(dir string) {
	b, _ := Open(BookConfig{Dir: dir})
	b.complete()
	for {
		b.Event("busy")
		if b.save() != nil {
			os.Exit(3)
		}
		os.Stdout.WriteString("saved\n")
	}
}

// TestHungDisk: a write that never returns holds up neither the start, nor the petting, nor the
// starving.
func TestHungDisk(t *testing.T) {
	hangs := make(chan struct{})
	store := func(file string, v any, mode fs.FileMode) error { <-hangs; return durable.Save(file, v, mode) }
	b, p := Open(BookConfig{Dir: t.TempDir(), BootID: "a", wait: 50 * time.Millisecond, store: store})
	must(t, p.Outcome == First && b.Plan().Hold == 15*time.Minute)
	h := &teller{hound: newHound(0), heard: make(chan string, 100)}
	exits := make(chan Cause, 1)
	k, err := NewKeeper(Config{
		Watchdog: h, Book: b, Timeout: 6 * time.Second, Starved: func(c Cause) { exits <- c },
		Probe: alive,
	})
	must(t, err == nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { k.Run(ctx); close(ended) }()
	h.await(t, "pet")
	h.await(t, "pet")
	k.Starve(Cause{Path: "root", Reason: "nothing left"})
	h.await(t, "starving: root")
	<-exits
	cancel()
	<-ended
	must(t, b.Close(false) != nil)
	close(hangs)
	<-b.idle
}

// teller is a hound that records what it was told.
type teller struct {
	*hound
	heard chan string
}

func (h *teller) Pet(string) error { h.heard <- "pet"; return nil }

func (h *teller) Say(text string) error { h.heard <- text; return nil }

func (h *teller) await(t *testing.T, prefix string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case text := <-h.heard:
			if strings.HasPrefix(text, prefix) {
				return
			}
		case <-limit:
			t.Fatalf("never heard %q", prefix)
		}
	}
}
