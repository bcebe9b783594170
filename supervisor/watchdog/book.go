package watchdog

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatewayd/protocols/durable"
)

// File names in the data directory.
const (
	RecordFile = "boot-record.json"
	LedgerFile = "boot-ledger.json"
)

// writeWait bounds the wait for a write: flash may take seconds, and a disk that hangs must not
// hold up the keeper.
const writeWait = 5 * time.Second

// BookConfig says where the book is kept.
type BookConfig struct {
	Dir        string       // data directory, must exist
	Breaker    Breaker      // default its defaults
	BootStatus BootStatus   // the hardware's reset reason, from Device.BootStatus
	BootID     string       // default from /proc/sys/kernel/random/boot_id
	Log        *slog.Logger // default none

	wait  time.Duration                                    // bound of the wait for a write; default writeWait
	store func(file string, v any, mode fs.FileMode) error // default durable.Save
}

// Book keeps the boot record and the ledger of this life. A nil Book keeps nothing. Its methods are
// safe for concurrent use.
type Book struct {
	dir     string
	breaker Breaker
	log     *slog.Logger
	opened  time.Time

	wait  time.Duration
	store func(file string, v any, mode fs.FileMode) error

	mu       sync.Mutex
	record   Record
	ledger   Ledger
	plan     Plan
	next     time.Duration // time of the next checkpoint
	waiting  []chan error
	failing  bool
	kept     bool // something of this life has reached the disk
	closed   bool
	wake     chan struct{}
	finished chan struct{}
	idle     chan struct{} // closed when the writer has ended
}

// Open determines how the last life ended, adds it to the ledger and starts the record of this
// life. It never fails: a file that cannot be read counts as unknown, and data that cannot be
// written is kept in memory and logged once. Call Close at the end.
func Open(c BookConfig) (*Book, Previous) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.BootID == "" {
		raw, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it every start looks like a new boot
		c.BootID = strings.TrimSpace(string(raw))
	}
	if c.store == nil {
		c.store = durable.Save
	}
	b := &Book{
		store: c.store, dir: c.Dir, breaker: c.Breaker, log: c.Log, opened: time.Now(),
		wait: atLeast(c.wait, writeWait), next: time.Minute, wake: make(chan struct{}, 1), finished: make(chan struct{}),
		idle: make(chan struct{}),
	}
	prev, ledger := b.readRecord(c), b.readLedger()
	if prev.Outcome == First && ledger.Life > 0 {
		prev.Outcome = Unknown // there were earlier lives; only their record is gone
	}
	b.ledger, b.plan = c.Breaker.Plan(ledger, prev)
	b.record = Record{Life: b.ledger.Life, BootID: c.BootID, Started: wallClock(), Mode: b.plan.Mode}
	go b.write()
	if b.save() != nil {
		// Failures cannot be counted, so a loop could not be detected: wait as after a failure.
		gaps := c.Breaker.withDefaults().Gaps
		b.plan.Hold = max(b.plan.Hold, gaps[min(1, len(gaps)-1)])
	}
	return b, prev
}

func (b *Book) readRecord(c BookConfig) Previous {
	path := filepath.Join(b.dir, RecordFile)
	var r Record
	err := durable.Load(path, &r)
	switch {
	case err == nil:
		return classify(r, c.BootID, c.BootStatus)
	case errors.Is(err, fs.ErrNotExist):
		return Previous{Outcome: First, NewBoot: true, BootStatus: c.BootStatus}
	}
	p := Previous{Outcome: Unknown, NewBoot: true, BootStatus: c.BootStatus}
	p.Aside = b.aside(path, err)
	return p
}

// readLedger counts a damaged ledger as one failure: flash that damages it at every boot must not
// hide a loop, and a single damage must not cause safe mode.
func (b *Book) readLedger() Ledger {
	path := filepath.Join(b.dir, LedgerFile)
	var l Ledger
	err := durable.Load(path, &l)
	switch {
	case err == nil:
		return l
	case errors.Is(err, fs.ErrNotExist):
		return Ledger{}
	}
	b.aside(path, err)
	return Ledger{Failures: []Failure{{Outcome: Unknown, Cause: "the ledger was damaged"}}}
}

func (b *Book) aside(path string, err error) string {
	to, moveErr := durable.SetAside(path)
	if moveErr != nil {
		to = ""
	}
	b.log.Warn("a boot record is damaged", slog.String("file", path), slog.Any("err", err), slog.String("kept", to))
	return to
}

// wallClock returns the time for display. It is zero if the clock is so wrong (year 10,000 or
// later, from a broken RTC) that JSON cannot represent it.
func wallClock() time.Time {
	now := time.Now().UTC()
	if y := now.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return now
}

// Plan returns how to start this life.
func (b *Book) Plan() Plan {
	if b == nil {
		return Plan{Mode: Normal}
	}
	return b.plan
}

// Record returns a copy of this life's record.
func (b *Book) Record() Record {
	if b == nil {
		return Record{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.record
	r.Events = append(r.Events[:0:0], r.Events...)
	return r
}

// Event appends an event, JSON or any text, to the record. It reaches the disk with the next write
// of the record, at the latest with the one before starving.
func (b *Book) Event(event string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record.add(event)
}

// Close ends the book. clean marks an orderly stop; it is ignored if this life starved. Call Close
// last of all. It returns the error of the last write.
func (b *Book) Close(clean bool) error {
	if b == nil {
		return nil
	}
	err := b.change(func() { b.record.Clean = clean && b.record.Starved == nil }, true)
	b.end()
	return err
}

// end stops the writer and waits for it, unless the disk hangs.
func (b *Book) end() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.finished)
	}
	b.mu.Unlock()
	limit := time.NewTimer(b.wait)
	defer limit.Stop()
	select {
	case <-b.idle:
	case <-limit.C:
	}
}
