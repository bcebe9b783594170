package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// content is the valid part of a file.
type content struct {
	path        string
	first, last uint64
	start, head string // hashes before the first record and of the last
	end         int64  // of the last record
	wrong       error  // what is wrong with the rest
	hashes      []string
}

// scan reads a file as far as it is valid.
func scan(path string) (c content) {
	c.path = path
	text, err := os.ReadFile(path)
	if err != nil {
		c.wrong = err
		return c
	}
	text = bytes.TrimRight(text, "\x00")
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		hash, body, _ := bytes.Cut(line, []byte(" "))
		var r Record
		switch {
		case !whole:
			c.wrong = errors.New("the last record is incomplete")
		case json.Unmarshal(body, &r) != nil:
			c.wrong = fmt.Errorf("the line after record %d is not a record", c.last)
		case c.first == 0 && r.What != Begin:
			c.wrong = fmt.Errorf("record %d is the first in the file but does not begin a log: earlier records were removed", r.Number)
		case c.first == 0:
			c.first, c.last, c.start, c.head = r.Number, r.Number-1, r.Prev, r.Prev
		}
		if c.wrong == nil && (r.Number != c.last+1 || string(hash) != chain(c.head, body)) {
			c.wrong = fmt.Errorf("record %d does not follow record %d: a record was changed, removed or inserted", r.Number, c.last)
		}
		if c.wrong != nil {
			if c.last < c.first {
				c.first = 0 // not even its first record is valid
			}
			return c
		}
		c.last, c.head = r.Number, string(hash)
		c.hashes = append(c.hashes, c.head)
		c.end += int64(len(line)) + 1
		text = rest
	}
	return c
}

// Report is what Verify found to be valid.
type Report struct {
	First, Last uint64 // numbers of records
	Head        string // hash of the last one
}

// Verify reads the log in dir, which need not be open, and returns everything that is wrong with
// it. known is a hash noted earlier, or empty: a valid log that never contained it is another log.
// Records older than the log has room for are gone, which is no error.
func Verify(dir, known string) (Report, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
	if err != nil || len(paths) == 0 {
		return Report{}, errors.Join(err, fmt.Errorf("%s: no audit log in this directory", dir))
	}
	var all []content
	var wrong []error
	for _, p := range paths {
		c := scan(p)
		if c.wrong != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", filepath.Base(p), c.wrong))
		}
		if c.first > 0 {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return Report{}, errors.Join(append(wrong, fmt.Errorf("%s: the audit log has no valid record", dir))...)
	}
	slices.SortFunc(all, func(a, b content) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	seen := known == "" || known == all[0].start
	for i, c := range all {
		if i > 0 && (c.first != all[i-1].last+1 || c.start != all[i-1].head) {
			wrong = append(wrong, fmt.Errorf("%s: record %d, the first one, has the previous hash %s, which is not that of the file before: records up to %d are missing or changed",
				filepath.Base(c.path), c.first, c.start, all[i-1].last+1))
		}
		seen = seen || slices.Contains(c.hashes, known)
	}
	if !seen {
		wrong = append(wrong, fmt.Errorf("hash %s is not in the log: its record was changed or cut off, or is older than the log", known))
	}
	last := all[len(all)-1]
	return Report{First: all[0].first, Last: last.last, Head: last.head}, errors.Join(wrong...)
}
