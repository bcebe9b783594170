package watchdog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// The keeper's entries. Only starve waits for the write, for a bounded time.

func (b *Book) complete() { b.change(func() { b.record.Complete = true }, false) }

func (b *Book) healthy() {
	b.change(func() {
		b.record.Healthy = true
		b.ledger = b.breaker.Healthy(b.ledger, b.record.Mode)
	}, false)
}

func (b *Book) withhold(c Cause) { b.change(func() { b.record.Withheld = c.cut() }, false) }

func (b *Book) retract() { b.change(func() { b.record.Withheld = nil }, false) }

func (b *Book) starve(c Cause) { b.change(func() { b.record.Starved = c.cut() }, true) }

// tick writes a checkpoint of the running time after 1, 2, 4 … minutes and then every hour: a few
// hundred small writes a month.
func (b *Book) tick() {
	if b == nil {
		return
	}
	b.mu.Lock()
	lived := time.Since(b.opened)
	due := lived >= b.next
	if due {
		b.next = lived + min(lived, time.Hour)
	}
	b.mu.Unlock()
	if due {
		b.change(func() {}, false)
	}
}

// change edits the book and requests a write; with wait it waits for the write.
func (b *Book) change(edit func(), wait bool) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errors.New("the boot record is closed")
	}
	edit()
	b.mu.Unlock()
	if wait {
		return b.save()
	}
	b.rouse()
	return nil
}

// save waits until the present contents of the book have been written.
func (b *Book) save() error {
	done := make(chan error, 1)
	b.mu.Lock()
	b.waiting = append(b.waiting, done)
	b.mu.Unlock()
	b.rouse()
	limit := time.NewTimer(b.wait)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return fmt.Errorf("write boot record in %s: not done in %s", b.dir, b.wait)
	}
}

func (b *Book) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// write runs on the book's own goroutine, so that a disk that hangs holds up nothing else.
func (b *Book) write() {
	defer close(b.idle)
	for {
		select {
		case <-b.finished:
			return
		case <-b.wake:
		}
		b.mu.Lock()
		b.record.LivedMS = time.Since(b.opened).Milliseconds()
		record, ledger, waiting := b.record, b.ledger, b.waiting
		b.waiting = nil
		b.mu.Unlock()
		err := b.flush(record, ledger)
		for _, done := range waiting {
			done <- err
		}
	}
}

// fileMode lets the owner's group read the files.
const fileMode = 0o640

// flush writes the ledger before the record: after a failure between the two, a life without a
// record counts once; the other order could count a life twice.
func (b *Book) flush(r Record, l Ledger) error {
	path := filepath.Join(b.dir, RecordFile)
	err := b.store(filepath.Join(b.dir, LedgerFile), l, fileMode)
	if err == nil {
		err = b.store(path, r, fileMode)
	}
	if err != nil && !b.kept {
		// The old record may claim a clean stop of a life that was not the last one.
		if gone := os.Remove(path); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	b.kept = b.kept || err == nil
	b.report(err)
	return err
}

func (b *Book) report(err error) {
	switch {
	case err != nil && !b.failing:
		b.log.Warn("the boot record cannot be written; it is kept in memory until then", slog.String("dir", b.dir), slog.Any("err", err))
	case err == nil && b.failing:
		b.log.Info("the boot record is written again", slog.String("dir", b.dir))
	}
	b.failing = err != nil
}
