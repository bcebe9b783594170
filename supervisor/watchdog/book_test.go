package watchdog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gatewayd/protocols/durable"
)

func open(t *testing.T, dir, boot string, status BootStatus) (*Book, Previous) {
	t.Helper()
	b, p := Open(BookConfig{Dir: dir, BootID: boot, BootStatus: status})
	t.Cleanup(b.end)
	return b, p
}

// flushed waits until all changes so far are on disk.
func (b *Book) flushed(t *testing.T) {
	t.Helper()
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
}

func TestOutcomes(t *testing.T) {
	line := Cause{"field/line", "no progress", "watchdog"}
	tests := map[string]struct {
		live    func(*Book)
		boot    string
		status  BootStatus
		want    Outcome
		cause   Cause
		failed  bool
		newBoot bool
	}{
		"clean":                   {func(b *Book) { b.complete(); b.Close(true) }, "a", 0, Clean, Cause{}, false, false},
		"clean, then reboot":      {func(b *Book) { b.Close(true) }, "b", 0, Clean, Cause{}, false, true},
		"closed, not clean":       {func(b *Book) { b.Close(false) }, "a", 0, Crashed, Cause{}, true, false},
		"starved":                 {func(b *Book) { b.starve(line) }, "b", unix.WDIOF_CARDRESET, Starved, line, true, true},
		"starved, claims clean":   {func(b *Book) { b.starve(line); b.Close(true) }, "a", 0, Starved, line, true, false},
		"bitten while withheld":   {func(b *Book) { b.withhold(line) }, "a", 0, Starved, line, true, false},
		"withheld, then not":      {func(b *Book) { b.withhold(line); b.retract() }, "a", 0, Crashed, Cause{}, true, false},
		"killed":                  {func(b *Book) { b.complete() }, "a", 0, Crashed, Cause{}, true, false},
		"killed, an old reset":    {func(b *Book) { b.complete() }, "a", unix.WDIOF_CARDRESET, Crashed, Cause{}, true, false},
		"reset by the hardware":   {func(b *Book) { b.complete() }, "b", unix.WDIOF_CARDRESET, Reset, Cause{}, true, true},
		"power cut":               {func(b *Book) { b.complete() }, "b", 0, Lost, Cause{}, false, true},
		"power cut while booting": {func(b *Book) {}, "b", 0, Lost, Cause{}, true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b, p := open(t, dir, "a", 0)
			if p.Outcome != First || p.Failed() {
				t.Fatalf("first start: %+v", p)
			}
			b.Event(`{"child":"line","level":"cycle"}`)
			b.Event("plain <text>")
			b.flushed(t)
			test.live(b)
			if !b.closed {
				b.flushed(t)
			}
			b.end()
			_, p = open(t, dir, test.boot, test.status)
			if p.Outcome != test.want || p.Cause != test.cause || p.Failed() != test.failed || p.NewBoot != test.newBoot {
				t.Fatalf("got %+v", p)
			}
			if p.Record.Life != 1 || len(p.Record.Events) != 2 || string(p.Record.Events[0]) != `{"child":"line","level":"cycle"}` {
				t.Fatalf("record %+v", p.Record)
			}
		})
	}
}

// TestDamage: no truncation and no flipped bit causes a panic or different content.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	b, _ := open(t, dir, "a", 0)
	b.Event("x")
	must(t, b.Close(true) == nil)
	path := filepath.Join(dir, RecordFile)
	raw, err := os.ReadFile(path)
	must(t, err == nil)
	want := b.Record()
	same := func(r Record) bool { return r.Clean == want.Clean && r.Life == want.Life && r.BootID == want.BootID }
	try := func(what string, damaged []byte) {
		var r Record
		if err := durable.Unseal(damaged, &r); err == nil && !same(r) {
			t.Fatalf("%s: read as %+v", what, r)
		}
	}
	for n := range raw {
		try(fmt.Sprintf("cut at %d", n), raw[:n])
		if n < len(raw)-1 {
			var r Record
			must(t, durable.Unseal(raw[:n], &r) != nil)
		}
		for bit := range 8 {
			flipped := bytes.Clone(raw)
			flipped[n] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d", bit, n), flipped)
		}
	}
	for _, damage := range [][]byte{nil, raw[:len(raw)/2], bytes.Repeat([]byte{0}, 4096), []byte("null"), []byte("{}"), []byte(`{"content":{"clean":true}}`), bytes.Repeat([]byte("["), durable.MaxSealed+9)} {
		must(t, os.WriteFile(path, damage, 0o600) == nil)
		b, p := open(t, dir, "a", 0)
		if p.Outcome != Unknown || p.Aside == "" || !p.Failed() {
			t.Fatalf("%.20q: %+v", damage, p)
		}
		kept, err := os.ReadFile(p.Aside)
		must(t, err == nil && bytes.Equal(kept, damage))
		must(t, b.Close(true) == nil)
	}
	must(t, os.Remove(path) == nil)
	_, p := open(t, dir, "a", 0)
	must(t, p.Outcome == Unknown)
}

func TestDamagedLedger(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, LedgerFile), []byte("x"), 0o600) == nil)
	b, _ := open(t, dir, "a", 0)
	if p := b.Plan(); p.Mode != Normal || p.Failed != 1 || p.Hold != 15*time.Minute {
		t.Fatalf("plan %+v", p)
	}
}

// TestTornWrite: a power cut leaves the temporary file at any length.
func TestTornWrite(t *testing.T) {
	dir := t.TempDir()
	b, _ := open(t, dir, "a", 0)
	must(t, b.Close(true) == nil)
	for n := range 64 {
		must(t, os.WriteFile(filepath.Join(dir, ".new-1"), bytes.Repeat([]byte("{"), n*7), 0o600) == nil)
		b, p := open(t, dir, "a", 0)
		must(t, p.Outcome == Clean && b.Close(true) == nil)
	}
}

// TestBootLoop plays lives through the files.
func TestBootLoop(t *testing.T) {
	dir := t.TempDir()
	want := []Plan{
		{Normal, 0, 0}, {Normal, 15 * time.Minute, 1}, {Normal, time.Hour, 2}, {Normal, 6 * time.Hour, 3},
		{Safe, Forever, 4}, {Safe, Forever, 4},
	}
	for i, w := range want {
		b, _ := open(t, dir, fmt.Sprint("boot", i), 0)
		if b.Plan() != w || b.Record().Mode != w.Mode {
			t.Fatalf("life %d: plan %+v, want %+v", i+1, b.Plan(), w)
		}
		b.starve(Cause{Path: "root", Reason: "nothing left"})
		b.end()
	}
	b, _ := open(t, dir, "c", 0)
	b.complete()
	b.healthy()
	must(t, b.Close(true) == nil)
	b, _ = open(t, dir, "c", 0)
	if p := b.Plan(); p != want[3] {
		t.Fatalf("on probation: %+v", p)
	}
	b.healthy()
	must(t, b.Close(true) == nil)
	b, _ = open(t, dir, "c", 0)
	if p := b.Plan(); p != want[0] {
		t.Fatalf("after a healthy life: %+v", p)
	}
}

// TestUnwritable: without the directory everything continues and the log says so once; when it
// comes back the book is written again.
func TestUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	var log bytes.Buffer
	b, p := Open(BookConfig{Dir: dir, BootID: "a", Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, p.Outcome == First && b.Plan() == Plan{Normal, 15 * time.Minute, 0})
	b.complete()
	b.healthy()
	b.starve(Cause{Path: "root", Reason: "x"})
	must(t, b.Record().Complete && b.Record().Starved != nil)
	must(t, os.Mkdir(dir, 0o700) == nil && b.Close(false) == nil)
	if n := strings.Count(log.String(), "cannot be written"); n != 1 || !strings.Contains(log.String(), "written again") {
		t.Fatalf("said %d times: %s", n, log.String())
	}
	_, p = open(t, dir, "a", 0)
	must(t, p.Outcome == Starved)
}

// TestFullDisk uses a real full file system. An old "clean" must not outlive a life that could not
// be recorded.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a tmpfs (run as root): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	b, _ := open(t, dir, "a", 0)
	must(t, b.Close(true) == nil)
	f, err := os.Create(filepath.Join(dir, "hog"))
	must(t, err == nil)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	b, p := open(t, dir, "a", 0)
	must(t, p.Outcome == Clean && b.Plan().Hold == 15*time.Minute)
	b.complete()
	b.end()
	must(t, os.Remove(f.Name()) == nil)
	b, p = open(t, dir, "a", 0)
	if p.Outcome == Clean {
		t.Fatalf("got %+v", p)
	}
	b.starve(Cause{Path: "root"})
	b.end()
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil)
	b, p = open(t, dir, "a", 0)
	must(t, p.Outcome == Starved && b.Plan().Failed == 2)
	must(t, b.Close(true) != nil)
}

func TestEventsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Record
		for range rapid.IntRange(0, 70).Draw(t, "n") {
			r.add(rapid.OneOf(rapid.String(), rapid.Just(strings.Repeat("<\x01", 9000)), rapid.Just(`{"a":[1, 2]}`)).Draw(t, "event"))
		}
		r.Starved = Cause{Path: rapid.String().Draw(t, "path"), Reason: strings.Repeat("\x00", 9000)}.cut()
		raw, err := durable.Seal(r)
		if err != nil || len(raw) > durable.MaxSealed || len(r.Events) > MaxEvents {
			t.Fatalf("%d bytes, %d events, %v", len(raw), len(r.Events), err)
		}
		var back Record
		if err := durable.Unseal(raw, &back); err != nil || len(back.Events) != len(r.Events) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func TestBreakerProperties(t *testing.T) {
	outcomes := []Outcome{First, Clean, Starved, Crashed, Reset, Lost, Unknown}
	rapid.Check(t, func(t *rapid.T) {
		var b Breaker
		var l Ledger
		mode := Normal
		recent := 0 // failures since the last healthy life
		for range rapid.IntRange(1, 40).Draw(t, "lives") {
			prev := Previous{Outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome"), Record: Record{
				Life: l.Life, LivedMS: rapid.Int64Range(-5, 3_600_000).Draw(t, "lived"), Complete: rapid.Bool().Draw(t, "complete"),
				Started: time.Unix(rapid.Int64().Draw(t, "wall"), 0),
			}}
			if prev.Outcome == First && l.Life > 0 {
				continue
			}
			if healthy := prev.Outcome != First && rapid.IntRange(0, 5).Draw(t, "healthy") == 0; healthy {
				l = b.Healthy(l, mode)
				recent = len(l.Failures)
			}
			if prev.Failed() {
				recent++
			}
			var p Plan
			before := l
			l, p = b.Plan(l, prev)
			mode = p.Mode
			if l.Life != before.Life+1 || l.RunningMS < before.RunningMS || p.Failed > recent {
				t.Fatalf("ledger %+v after %+v, plan %+v, %d failed", l, before, p, recent)
			}
			if (p.Mode == Safe) != (p.Failed >= 4) || p.Failed == 0 != (p.Hold == 0) || p.Mode == Safe && p.Hold != Forever {
				t.Fatalf("plan %+v", p)
			}
			prev.Record.Started = time.Unix(0, 0)
			if l2, p2 := b.Plan(before, prev); p2 != p || l2.Life != l.Life {
				t.Fatal("wall time matters")
			}
		}
	})
}

func TestBreakerWindow(t *testing.T) {
	var b Breaker
	l, p := b.Plan(Ledger{Life: 1}, Previous{Outcome: Starved, Record: Record{Life: 1, LivedMS: 1000}})
	must(t, p.Failed == 1)
	day := (24 * time.Hour).Milliseconds()
	l, p = b.Plan(l, Previous{Outcome: Clean, Record: Record{Life: 2, LivedMS: day}})
	must(t, p.Failed == 1)
	l, p = b.Plan(l, Previous{Outcome: Clean, Record: Record{Life: 3, LivedMS: 1}})
	must(t, p == Plan{Normal, 0, 0})
	// A life that died before it wrote its record counts once, its predecessor not twice.
	l, p = b.Plan(l, Previous{Outcome: Starved, Record: Record{Life: 3, LivedMS: 1}})
	must(t, p.Failed == 1 && l.Failures[0].Life == 4 && l.Failures[0].Outcome == Unknown)
	hostile := Ledger{Life: 9, RunningMS: -1 << 62, Failures: []Failure{{AtMS: 1<<63 - 1}, {AtMS: -1 << 63}}}
	_, p = b.Plan(hostile, Previous{Outcome: Clean, Record: Record{Life: 9, LivedMS: 1<<63 - 1}})
	must(t, p.Failed == 1 && p.Mode == Normal && p.Hold > 0)
}

func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b, _ := Open(BookConfig{Dir: dir, BootID: "a"})
		r := start(t, Config{Book: b}, alive)
		pass(100 * time.Minute)
		r.end()
		b.end()
	})
	_, p := open(t, dir, "b", 0)
	if lived := time.Duration(p.Record.LivedMS) * time.Millisecond; lived < 50*time.Minute || !p.Record.Healthy || p.Outcome != Lost {
		t.Fatalf("lived %s: %+v", lived, p)
	}
}

// TestKeeperWritesTheRecordFirst runs the keeper with a book on a real disk.
func TestKeeperWritesTheRecordFirst(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b, _ := Open(BookConfig{Dir: dir, BootID: "a"})
		h := &witness{hound: newHound(30 * time.Second), path: filepath.Join(dir, RecordFile)}
		r := start(t, Config{Watchdog: h, Book: b}, alive)
		pass(time.Minute)
		b.Event(`{"healed":"line"}`)
		r.Starve(Cause{Path: "root", Reason: "nothing left"})
		pass(time.Second)
		r.end()
		must(t, b.Close(true) == nil)
		if !h.found {
			t.Error("the status came before the record")
		}
	})
	_, p := open(t, dir, "a", 0)
	if p.Outcome != Starved || p.Cause != (Cause{"root", "nothing left", "watchdog"}) || len(p.Record.Events) != 1 {
		t.Fatalf("got %+v", p)
	}
}

// witness looks for the record on disk when it is told that it starves.
type witness struct {
	*hound
	path  string
	found bool
}

func (w *witness) Say(text string) error {
	if strings.HasPrefix(text, "starving") {
		var r Record
		w.found = durable.Load(w.path, &r) == nil && r.Starved != nil
	}
	return nil
}

func FuzzUnseal(f *testing.F) {
	raw, _ := durable.Seal(Record{Clean: true, Events: []json.RawMessage{[]byte(`"x"`)}})
	f.Add(raw)
	f.Add([]byte(`{"sha256":"","content":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r Record
		if durable.Unseal(raw, &r) != nil {
			return
		}
		var l Ledger
		p := classify(r, "a", 0)
		_ = p.String()
		if durable.Unseal(raw, &l) == nil {
			Breaker{}.Plan(l, p)
		}
	})
}
