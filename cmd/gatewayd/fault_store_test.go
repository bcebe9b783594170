package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/bus"
	"gatewayd/supervisor/watchdog"
)

// startLimit is how long a start on any data may take, on a machine that is busy otherwise. A start
// that waits for something that never happens takes longer.
const startLimit = 30 * time.Second

// happen produces an event and returns the sequence numbers of all stored events.
func (r *running) happen() map[uint64]bool {
	r.t.Helper()
	w, since := r.watch(), time.Now()
	r.misbehave("lab/rogue", "error", 0)
	w.healed("lab/rogue", since, "recovered")
	all := map[uint64]bool{}
	r.until("the history has it", func() bool {
		fresh := 0
		for _, e := range r.events("gw.fault.event.>") {
			all[e.Seq] = true
			if !e.Time.Before(since) && strings.HasSuffix(e.Subject, ".lab.healed") {
				fresh++
			}
		}
		return fresh >= 2 // restarted, and recovered
	})
	return all
}

// accounted fails the test unless all stored events are there, or this life reports the loss.
func (r *running) accounted(what string, kept map[uint64]bool) {
	r.t.Helper()
	missing := len(kept)
	for _, e := range r.events("gw.fault.event.>") {
		if kept[e.Seq] {
			missing--
		}
	}
	told := r.log.has("stream EVENTS lost")
	if told {
		r.watchHistory("the loss is an event", func(subject, data string) bool {
			return strings.HasSuffix(subject, ".event.bus.loss") && strings.Contains(data, "EVENTS")
		})
	}
	if missing > 0 && !told {
		r.t.Errorf("%s: %d of %d events are missing and nobody says so", what, missing, len(kept))
	}
	r.t.Logf("%s: up in %s, %d of %d events missing, told: %v", what, r.took.Round(time.Millisecond), missing, len(kept), told)
}

// watchHistory waits for an event in the history.
func (r *running) watchHistory(what string, is func(subject, data string) bool) {
	r.t.Helper()
	r.until(what, func() bool {
		return slices.ContainsFunc(r.events("gw.fault.event.>"), func(e bus.Record) bool { return is(e.Subject, string(e.Data)) })
	})
}

// flip inverts one bit in the middle of a file.
func flip(file string) error {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return err
	}
	text[len(text)/2] ^= 0x10
	return os.WriteFile(file, text, 0o600)
}

func truncate(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, info.Size()/2)
}

// Whatever has happened to the data between two runs, the next run starts soon, polls, has its
// config, and reports what is lost.
func TestFaultDamagedData(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1)
	s.extra = faultLab
	type damage struct {
		what string
		glob string // in the data directory
		do   func(string) error
	}
	all := []damage{{"nothing", "lock", func(string) error { return nil }}}
	for _, glob := range []string{
		"bus/jetstream/*/streams/EVENTS/msgs/*.blk", "bus/jetstream/*/streams/EVENTS/meta.inf", "bus/jetstream/*/streams/EVENTS/meta.sum",
		"bus/jetstream/*/streams/*/msgs/*.blk", "bus/jetstream/*/streams/*/meta.inf", "bus/ledger.json", "boot-record.json", "boot-ledger.json",
	} {
		all = append(all, damage{"a bit flipped in " + glob, glob, flip}, damage{"half is left of " + glob, glob, truncate},
			damage{"nothing is left of " + glob, glob, func(f string) error { return os.Truncate(f, 0) }})
	}
	all = append(all, damage{"no streams", "bus/jetstream/*/streams", os.RemoveAll}, damage{"no store", "bus/jetstream", os.RemoveAll},
		damage{"no bus", "bus", os.RemoveAll}, damage{"a torn temporary file", "config", func(f string) error {
			return os.WriteFile(filepath.Join(f, ".new-1"), []byte("half"), 0o600)
		}}, damage{"no data", ".", func(f string) error { return os.RemoveAll(s.data) }})
	for i, d := range all {
		if testing.Short() && i%3 == 2 {
			continue
		}
		r := s.start()
		kept := r.happen()
		r.stop(faultWait)
		files, err := filepath.Glob(filepath.Join(s.data, d.glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s (%v)", d.glob, err)
		}
		for _, f := range files {
			if err := d.do(f); err != nil {
				t.Fatal(err)
			}
		}
		next := s.start()
		w := next.watch()
		if next.took > startLimit {
			t.Errorf("%s: the start took %s", d.what, next.took)
		}
		w.good(units...)
		if d.what == "no data" || d.what == "no bus" {
			kept = nil // nobody is left who could know
		}
		next.accounted(d.what, kept)
		next.intact(1)
		next.happen()
		if b := next.boot(); strings.Contains(d.glob, "boot-record") != (b.LastEnd == "unknown") && d.what != "no data" {
			t.Errorf("%s: the boot record says %q", d.what, b.LastEnd)
		}
		_ = os.Remove(filepath.Join(s.data, watchdog.LedgerFile)) // forget failures: each damage is tested on its own
		next.stop(faultWait)
		_ = os.Remove(filepath.Join(s.data, watchdog.LedgerFile))
	}
}

// The process is killed at random moments, also during its start.
func TestFaultKilledAtAnyTime(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 50*time.Millisecond, 1, 2, 3)
	s.extra = faultLab
	s.write()
	rounds, slowest := 32, time.Duration(0)
	var kept map[uint64]bool
	if testing.Short() {
		rounds = 8
	}
	dice := rand.New(rand.NewPCG(4, uint64(rounds)))
	for i := range rounds {
		if i%3 == 2 { // the boot-loop breaker has a test of its own
			_ = os.Remove(filepath.Join(s.data, watchdog.LedgerFile))
		}
		if i%2 == 0 { // during the start
			r := s.exec()
			select {
			case <-time.After(time.Duration(dice.Int64N(int64(120 * time.Millisecond)))):
			case <-r.ended:
				t.Fatalf("round %d: ended by itself: %v", i, r.state)
			}
			r.kill()
			continue
		}
		r := s.start()
		slowest = max(slowest, r.took)
		r.watch().good(units...)
		r.accounted(fmt.Sprintf("round %d", i), kept)
		early := kept == nil // all earlier lives may have been killed before they wrote anything
		if b := r.boot(); b.LastEnd != "crashed" && !(early && b.LastEnd == "first") || b.SafeMode {
			t.Errorf("round %d: the boot record says %q, safe mode %v", i, b.LastEnd, b.SafeMode)
		}
		r.intact(1)
		kept = r.happen()
		r.misbehave("lab/rogue", "panic", 0) // events are being written when it is killed
		r.span(time.Duration(dice.Int64N(int64(60 * time.Millisecond))))
		r.kill()
	}
	t.Logf("killed %d times, the slowest start took %s", rounds, slowest.Round(time.Millisecond))
	if slowest > startLimit {
		t.Errorf("a start took %s", slowest)
	}
}
