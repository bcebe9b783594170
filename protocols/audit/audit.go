// Package audit records who did what in a few files of fixed size. Each record is a line: a hash, a
// space, and JSON. The hash is the SHA-256 of the previous hash, a space and the JSON, in
// hexadecimal, so that nothing can be changed, omitted or inserted without changing everything
// after it. With a hash that was noted elsewhere one can verify later that nothing before it was
// changed.
//
// The files have their full size from the start, so that a full disk does not prevent writing; when
// the last one is full, the oldest is reused. A record torn by a power cut is removed when the log
// is opened, and the log notes that.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Record is what somebody did, or a record of the log about itself ("begin", "torn", "lost").
type Record struct {
	Number uint64          `json:"n"`
	Time   time.Time       `json:"time"`
	What   string          `json:"what"` // cmd/<path>/<Method>, or the topic of an event
	Caller string          `json:"caller,omitempty"`
	Trace  string          `json:"trace,omitempty"`
	Code   string          `json:"code,omitempty"` // why it failed, like "not_found"
	Cause  string          `json:"cause,omitempty"`
	Took   float64         `json:"took,omitempty"` // seconds
	Detail json.RawMessage `json:"detail,omitempty"`
	Prev   string          `json:"prev,omitempty"` // in the first record of a file: the hash before it
}

// Records of the log about itself.
const (
	Begin = "begin" // first record of a file
	Torn  = "torn"  // an incomplete record was removed
	Lost  = "lost"  // records could not be written; detail says how many
)

// maxDetail limits the variable part of a record, in bytes.
const maxDetail = 8 << 10

// start is the hash before the very first record.
const start = "0000000000000000000000000000000000000000000000000000000000000000"

// Log is a log open for writing. It is safe for concurrent use.
type Log struct {
	mu    sync.Mutex
	dir   string
	files int
	size  int64

	file *os.File
	slot int   // number of the file
	at   int64 // offset of the next record
	next uint64
	head string
}

// Open opens the log in dir, or creates it: files files of size bytes. If not all files can get
// their size now, the log works with those that have it, and the error says why; Log is nil only if
// there is none.
func Open(dir string, files int, size int64, now time.Time) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, files: files, size: size, next: 1, head: start, slot: -1}
	var short error
	newest := uint64(0)
	for slot := range files {
		if err := reserve(l.path(slot), size); err != nil {
			short = errors.Join(short, err)
			continue
		}
		c := scan(l.path(slot))
		if c.first > newest {
			newest, l.slot, l.at, l.next, l.head = c.first, slot, c.end, c.last+1, c.head
		}
	}
	if l.slot < 0 {
		if err := l.turn(now); err != nil {
			return nil, errors.Join(short, err)
		}
		return l, short
	}
	f, err := os.OpenFile(l.path(l.slot), os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(short, err)
	}
	l.file = f
	torn, err := l.clear(l.at)
	if err == nil && torn {
		_, err = l.Append(Record{Time: now, What: Torn})
	}
	return l, errors.Join(short, err)
}

func (l *Log) path(slot int) string { return filepath.Join(l.dir, fmt.Sprintf("audit-%02d.log", slot)) }

// reserve creates a file of zeros, or extends one.
func reserve(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	if err := zero(f, info.Size(), size); err != nil {
		return err
	}
	return f.Sync()
}

func zero(f *os.File, from, to int64) error {
	blank := make([]byte, 32<<10)
	for from < to {
		n, err := f.WriteAt(blank[:min(int64(len(blank)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// clear sets everything from offset at to zero. It reports whether anything was not zero.
func (l *Log) clear(at int64) (bool, error) {
	rest := make([]byte, l.size-at)
	n, _ := l.file.ReadAt(rest, at)
	if len(bytes.Trim(rest[:n], "\x00")) == 0 {
		return false, nil
	}
	return true, zero(l.file, at, l.size)
}

// turn starts the file that was written longest ago.
func (l *Log) turn(now time.Time) error {
	slot := (l.slot + 1) % l.files
	f, err := os.OpenFile(l.path(slot), os.O_RDWR, 0o600)
	if err == nil {
		if info, e := f.Stat(); e != nil || info.Size() < l.size {
			err = errors.Join(e, fmt.Errorf("%s could not be allocated in full", l.path(slot)), f.Close())
		} else if err = zero(f, 0, l.size); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		if l.slot < 0 || l.file == nil {
			return err
		}
		f, slot = l.file, l.slot // better lose old records than new ones
		if err := zero(f, 0, l.size); err != nil {
			return err
		}
	} else if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.slot, l.at = f, slot, 0
	return l.write(Record{Time: now, What: Begin, Prev: l.head})
}

// Append numbers and writes records and waits until they are on disk. If there is an error, n
// records were written nevertheless.
func (l *Log) Append(all ...Record) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range all {
		if err := l.write(r); err != nil {
			return n, err
		}
		n++
	}
	return n, l.file.Sync()
}

func (l *Log) write(r Record) error {
	line, head, err := l.line(r)
	if err != nil {
		return err
	}
	if l.at+int64(len(line)) > l.size {
		if err := l.turn(r.Time); err != nil {
			return err
		}
		if line, head, err = l.line(r); err != nil {
			return err
		}
	}
	if _, err := l.file.WriteAt(line, l.at); err != nil {
		return err
	}
	l.at += int64(len(line))
	l.head = head
	l.next++
	return nil
}

func (l *Log) line(r Record) (line []byte, head string, err error) {
	r.Number, r.Time = l.next, r.Time.UTC()
	if len(r.Detail) > maxDetail {
		r.Detail = json.RawMessage(fmt.Sprintf(`{"bytes left out":%d}`, len(r.Detail)))
	}
	if len(r.Cause) > maxDetail {
		r.Cause = r.Cause[:maxDetail]
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, "", err
	}
	head = chain(l.head, text)
	return fmt.Appendf(nil, "%s %s\n", head, text), head, nil
}

func chain(before string, text []byte) string {
	h := sha256.New()
	_, _ = h.Write([]byte(before + " "))
	_, _ = h.Write(text)
	return hex.EncodeToString(h.Sum(nil))
}

// Head returns the number and the hash of the last record.
func (l *Log) Head() (uint64, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1, l.head
}

// Close closes the file, after what is being written.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
