// Package journal keeps named values in one file that survives the death of the process at any moment: what Flush has
// returned for is there after a kill, what Tend has returned for after a power cut as well.
//
// It holds all values in memory and the file only to find them again, so that a full or failing disk costs durability and
// nothing else: the journal says so, goes on, and writes everything anew as soon as it can. It knows nothing of what the
// values mean.
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

// ErrFull is the error of a value that is not kept because the journal holds as much as it may.
var ErrFull = errors.New("the journal is full")

// Journal is one open file. All methods may be called from any goroutine.
type Journal struct {
	path string
	most int // bytes of all records

	mu      sync.Mutex
	file    *os.File // nil: it could not be opened, or is closed
	live    map[string][]byte
	bytes   int       // of the records of live
	size    int64     // of the file
	pending []byte    // records that are not in the file yet
	dirty   bool      // the file has what was not synced
	err     error     // the file lacks something: why
	late    bool      // pending had to be dropped: only a whole rewrite helps
	tried   time.Time // when the file could not be mended
	rewrite bool      // the file is being written anew
	aside   []byte    // records that the old one has got since
	closed  bool

	abandoned atomic.Bool
	tending   sync.Mutex
}

// slack is how much of a file may be garbage before it is written anew, besides as much as is live.
const slack = 256 << 10

// fresh stands between the name of the file and a number in the name of one that is being written anew.
const fresh = ".new-"

// mendEvery is how often it is tried to mend a file.
const mendEvery = 2 * time.Second

// Open reads the file at path, or makes it. most bounds the bytes of what is kept. lost says why, if a part of the
// file could not be read: what comes before it is kept. The journal works whatever the error is; then what it holds ends with
// the process unless Tend can mend it. Whoever had it open before has closed or abandoned it.
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

// sweep removes what rewrites before this one have left; one that still hangs finds nothing to put in the place of the file.
func (j *Journal) sweep() {
	dir, name := filepath.Split(j.path)
	left, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range left {
		if strings.HasPrefix(e.Name(), name+fresh) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// replay takes in what a file holds.
func (j *Journal) replay(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if !strings.HasPrefix(string(b), magic) {
		return errors.New("it is no journal")
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

// Put keeps value, which nobody changes any more, under key. It is in the file after Flush. ErrFull: it is not kept, and
// what there was is gone.
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

// Delete removes what is kept under key.
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

// note applies r and has it written. The caller holds the lock.
func (j *Journal) note(r record) {
	if _, ok := j.live[r.key]; !ok && r.value == nil || j.closed {
		return
	}
	j.apply(r)
	if j.late {
		return
	}
	if j.pending = appendRecord(j.pending, r); j.err != nil && len(j.pending) > slack {
		j.pending, j.late = nil, true // the rewrite will have it
	}
}

// Flush hands what was noted to the operating system, which has it from then on whatever becomes of the process. After an error
// the journal holds the values until Tend has mended it.
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
		_ = j.file.Truncate(j.size) // a part of a record would end the reading there
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

// Each calls fn with all that is kept, sorted by key.
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

// Err is why the file lacks something; nil: it does not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Tend does what takes its time: it brings the file to the disk, writes it anew when much of it is garbage, and mends what
// could not be written. It is to be called every second or so.
func (j *Journal) Tend() error {
	j.tending.Lock()
	defer j.tending.Unlock()
	j.mu.Lock()
	err := j.flush()
	if err != nil && time.Since(j.tried) < mendEvery {
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

// rewriteAll writes a file of what is live, in place of the old one.
func (j *Journal) rewriteAll() error {
	j.mu.Lock()
	_ = j.flush() // so that the old file is whole as long as there is no new one
	all := j.snapshot()
	j.rewrite, j.aside, j.pending, j.late = true, nil, nil, false
	j.mu.Unlock()
	file, size, err := j.write(all)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rewrite = false
	if err == nil && j.late {
		err = errors.New("too much was noted meanwhile")
	}
	if err == nil && len(j.aside) > 0 { // what has got into the old file meanwhile
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
		j.late, j.pending, j.tried = true, nil, time.Now() // the next try writes everything
		j.err = fmt.Errorf("journal %s: %w", j.path, err)
		return j.err
	}
	j.size, j.err = size, nil
	return nil
}

// write makes the new file, and brings it to the disk while nobody waits: what install has to bring there is little.
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

// install puts the new file in the place of the old one. The caller holds the lock.
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

// Abandon leaves the file to whoever opens it next, without waiting for anything: nothing is put in its place any more, also where a disk that
// hangs holds up Close.
func (j *Journal) Abandon() { j.abandoned.Store(true) }

// Close writes what is left and ends the journal.
func (j *Journal) Close() error {
	j.tending.Lock()
	defer j.tending.Unlock()
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
