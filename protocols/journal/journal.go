// Package journal keeps named values in one file that survives the death of the process at any
// moment. What Flush has returned for survives a kill; what Maintain has returned for survives a
// power cut as well.
//
// All values are in memory, and the file is only read at the start. A full or failing disk
// therefore costs durability and nothing else: the journal reports it, goes on, and rewrites
// everything as soon as it can. It does not interpret the values.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/durable"
)

// ErrFull is returned for a value that is not kept because the journal has reached its size limit.
var ErrFull = errors.New("the journal is full")

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	path string
	most int // limit for the bytes of all records

	mu      sync.Mutex
	file    *os.File // nil: could not be opened, or is closed
	live    map[string][]byte
	bytes   int       // of the records in live
	size    int64     // of the file
	pending []byte    // records not yet in the file
	dirty   bool      // the file has content that was not synced
	err     error     // why the file is incomplete
	late    bool      // pending had to be dropped: only a complete rewrite helps
	tried   time.Time // when repairing the file failed
	rewrite bool      // the file is being rewritten
	aside   []byte    // records written to the old file since then
	closed  bool

	abandoned   atomic.Bool
	maintaining sync.Mutex
}

// slack is how much garbage a file may contain before it is rewritten, in addition to as much as
// there is live data.
const slack = 256 << 10

// fresh separates the name of the file from a number in the names of files being rewritten.
const fresh = ".new-"

// repairEvery is the interval between attempts to repair a file.
const repairEvery = 2 * time.Second

// Open reads the file at path, or creates it. most limits the bytes of what is kept. lost says why
// a part of the file could not be read, if so; everything before it is kept. The journal works even
// if err is not nil; its content is then lost with the process unless Maintain can repair the file.
// A journal that had the file open before must have been closed or abandoned.
func Open(path string, most int) (j *Journal, lost, err error) {
	j = &Journal{path: path, most: most, live: map[string][]byte{}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		j.err = fmt.Errorf("journal %s: %w", path, err)
		return j, nil, j.err
	}
	j.sweep()
	lost = j.replay(b)
	if lost != nil {
		lost = fmt.Errorf("journal %s: %w", path, lost)
	}
	return j, lost, j.rewriteAll()
}

// sweep removes files left by earlier rewrites. A rewrite that still hangs will then find no file
// to install.
func (j *Journal) sweep() {
	dir, name := filepath.Split(j.path)
	left, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range left {
		if strings.HasPrefix(e.Name(), name+fresh) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// replay reads the content of a file.
func (j *Journal) replay(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if !strings.HasPrefix(string(b), magic) {
		return errors.New("it is not a journal")
	}
	for at := len(magic); at < len(b); {
		r, n, err := parse(b[at:])
		if err != nil {
			return fmt.Errorf("%d bytes from %d on are lost: %w", len(b)-at, at, err)
		}
		j.apply(r)
		at += n
	}
	return nil
}

func (j *Journal) apply(r record) {
	if old, ok := j.live[r.key]; ok {
		j.bytes -= sizeOf(r.key, old)
	}
	if r.value == nil {
		delete(j.live, r.key)
		return
	}
	j.live[r.key] = r.value
	j.bytes += sizeOf(r.key, r.value)
}

// Put stores value under key; the value must not be changed afterwards. It is in the file after
// Flush. If it returns ErrFull, the value is not kept and the previous one is removed.
func (j *Journal) Put(key string, value []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if value == nil {
		value = []byte{}
	}
	if old, ok := j.live[key]; j.bytes+sizeOf(key, value) > j.most && (!ok || j.bytes-sizeOf(key, old)+sizeOf(key, value) > j.most) {
		j.note(record{key: key})
		return ErrFull
	}
	j.note(record{key, value})
	return nil
}

// Delete removes the value under key.
func (j *Journal) Delete(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(record{key: key})
}

// DeleteAll removes everything whose key begins with prefix.
func (j *Journal) DeleteAll(prefix string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key := range j.live {
		if strings.HasPrefix(key, prefix) {
			j.note(record{key: key})
		}
	}
}

// note applies r and queues it for writing. The caller holds the lock.
func (j *Journal) note(r record) {
	if _, ok := j.live[r.key]; !ok && r.value == nil || j.closed {
		return
	}
	j.apply(r)
	if j.late {
		return
	}
	if j.pending = appendRecord(j.pending, r); j.err != nil && len(j.pending) > slack {
		j.pending, j.late = nil, true // the rewrite will contain it
	}
}

// Flush passes the noted records to the operating system, so that they survive the process. After
// an error the values are held in memory until Maintain has repaired the file.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flush()
}

func (j *Journal) flush() error {
	if len(j.pending) == 0 || j.err != nil || j.file == nil {
		return j.err
	}
	if _, err := j.file.Write(j.pending); err != nil {
		j.err = fmt.Errorf("journal %s: %w", j.path, err)
		_ = j.file.Truncate(j.size) // a partial record would end reading there
		return j.err
	}
	if j.rewrite {
		j.aside = append(j.aside, j.pending...)
	}
	j.size += int64(len(j.pending))
	j.pending, j.dirty = j.pending[:0], true
	if cap(j.pending) > slack {
		j.pending = nil
	}
	return nil
}

// Each calls fn for every value, sorted by key.
func (j *Journal) Each(fn func(key string, value []byte)) {
	for _, r := range j.records() {
		fn(r.key, r.value)
	}
}

func (j *Journal) records() []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapshot()
}

func (j *Journal) snapshot() []record {
	all := make([]record, 0, len(j.live))
	for key, value := range j.live {
		all = append(all, record{key, value})
	}
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return all
}

// Err returns why the file is incomplete; nil: it is complete.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Maintain does the slow work: it syncs the file, rewrites it when much of it is garbage, and
// repairs it after a failed write. Call it about once a second.
func (j *Journal) Maintain() error {
	j.maintaining.Lock()
	defer j.maintaining.Unlock()
	j.mu.Lock()
	err := j.flush()
	if err != nil && time.Since(j.tried) < repairEvery {
		j.mu.Unlock()
		return err
	}
	anew := err != nil || j.size > int64(2*j.bytes+slack)
	file, dirty := j.file, j.dirty
	j.dirty = false
	closed := j.closed || j.abandoned.Load()
	j.mu.Unlock()
	switch {
	case closed:
		return os.ErrClosed
	case anew:
		return j.rewriteAll()
	case dirty:
		if err := file.Sync(); err != nil {
			j.mu.Lock()
			j.err = fmt.Errorf("journal %s: %w", j.path, err)
			j.mu.Unlock()
			return err
		}
	}
	return nil
}

// rewriteAll replaces the file by one with the live values only.
func (j *Journal) rewriteAll() error {
	j.mu.Lock()
	_ = j.flush() // so that the old file is complete until there is a new one
	all := j.snapshot()
	j.rewrite, j.aside, j.pending, j.late = true, nil, nil, false
	j.mu.Unlock()
	file, size, err := j.write(all)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rewrite = false
	if err == nil && j.late {
		err = errors.New("too many notes meanwhile")
	}
	if err == nil && len(j.aside) > 0 { // written to the old file in the meantime
		var n int
		n, err = file.Write(j.aside)
		size += int64(n)
	}
	j.aside = nil
	if err == nil {
		err = j.install(file)
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
		j.late, j.pending, j.tried = true, nil, time.Now() // the next attempt writes everything
		j.err = fmt.Errorf("journal %s: %w", j.path, err)
		return j.err
	}
	j.size, j.err = size, nil
	return nil
}

// write creates the new file and syncs it without holding the lock, so that install has little left
// to sync.
func (j *Journal) write(all []record) (*os.File, int64, error) {
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return nil, 0, err
	}
	file, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+fresh+"*")
	if err != nil {
		return nil, 0, err
	}
	b, size := []byte(magic), int64(0)
	flush := func() error {
		n, err := file.Write(b)
		size += int64(n)
		b = b[:0]
		return err
	}
	for _, r := range all {
		if b = appendRecord(b, r); len(b) > slack {
			if err := flush(); err != nil {
				return file, size, err
			}
		}
	}
	if err := flush(); err != nil {
		return file, size, err
	}
	return file, size, file.Sync()
}

// install replaces the old file by the new one. The caller holds the lock.
func (j *Journal) install(file *os.File) error {
	if err := file.Sync(); err != nil {
		return err
	}
	if j.closed || j.abandoned.Load() {
		return os.ErrClosed
	}
	if err := durable.Rename(file.Name(), j.path); err != nil {
		return err
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file = file
	return nil
}

// Abandon leaves the file to the next Open without waiting for anything. This journal does not
// replace the file any more, even if a disk that hangs delays Close.
func (j *Journal) Abandon() { j.abandoned.Store(true) }

// Close writes what is left and ends the journal.
func (j *Journal) Close() error {
	j.maintaining.Lock()
	defer j.maintaining.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	err := j.flush()
	j.closed = true
	if j.file != nil {
		err = errors.Join(err, j.file.Sync(), j.file.Close())
	}
	return err
}
