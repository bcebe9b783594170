package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/audit"
)

const size = 4 << 10

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, 3, size, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func write(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Append(audit.Record{Time: now, What: "cmd/lab/Describe", Caller: "user/anna", Trace: fmt.Sprint(i), Took: 0.001}); err != nil {
			t.Fatal(err)
		}
	}
}

// Written records verify; the oldest go when there is no more room, and the log continues when it
// is opened again.
func TestAppendAndVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, dir)
	write(t, l, 5)
	n, head := l.Head()
	if r, err := audit.Verify(dir, ""); err != nil || r.First != 1 || r.Last != n || n != 6 || r.Head != head {
		t.Fatalf("%+v, %v", r, err)
	}
	_ = l.Close()
	l = open(t, dir)
	write(t, l, 200)
	after, _ := l.Head()
	r, err := audit.Verify(dir, "")
	if err != nil || r.First <= 1 || r.Last != after || after < 206 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := audit.Verify(dir, r.Head); err != nil {
		t.Error(err)
	}
	if _, err := audit.Verify(dir, head); err == nil || !strings.Contains(err.Error(), "older than the log") {
		t.Errorf("a hash that is gone: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Error(files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
	if _, err := audit.Verify(t.TempDir(), ""); err == nil {
		t.Error("nothing is right")
	}
}

// Any change, omission, insertion or truncation is found.
func TestTamperingIsFound(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	write(t, l, 40)
	_, head := l.Head()
	_ = l.Close()
	path := filepath.Join(dir, "audit-00.log")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimRight(good, "\x00"), []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for what, bad := range map[string][]byte{
		"another caller": bytes.Replace(good, []byte("user/anna"), []byte("user/otto"), 1),
		"one left out":   join(append(append([][]byte{}, lines[:3]...), lines[4:]...)...),
		"two exchanged":  join(lines[0], lines[2], lines[1], join(lines[3:]...)),
		"one twice":      join(lines[0], lines[1], lines[1], join(lines[2:]...)),
		"the begin gone": join(lines[1:]...),
		"a byte less":    good[:len(join(lines[:5]...))-1],
		"rubbish":        []byte("rubbish\n"),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Verify(dir, head); err == nil {
			t.Errorf("%s is not found", what)
		}
	}
	// A log whose end was cut off is valid in itself: the noted hash shows it.
	newest := filepath.Join(dir, "audit-01.log")
	text, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.TrimRight(text, "\x00")
	cut := text[:bytes.LastIndexByte(text[:len(text)-1], '\n')+1]
	if err := os.WriteFile(newest, cut, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(dir, ""); err != nil {
		t.Error(err)
	}
	if _, err := audit.Verify(dir, head); err == nil {
		t.Error("the missing end is not found")
	}
}

// However many bytes of the last record a power cut left, the log continues, notes it, and is
// valid.
func TestTornRecords(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	write(t, l, 3)
	path := filepath.Join(dir, "audit-00.log")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 1)
	_ = l.Close()
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from, to := len(bytes.TrimRight(before, "\x00")), len(bytes.TrimRight(after, "\x00"))
	for n := from; n < to; n++ {
		if err := os.WriteFile(path, append(append([]byte{}, after[:n]...), before[n:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir)
		want := uint64(4)
		if n > from {
			want = 5 // "torn" itself
		}
		if got, _ := l.Head(); got != want {
			t.Errorf("%d bytes left: record %d is the last one, want %d", n-from, got, want)
		}
		_ = l.Close()
		if _, err := audit.Verify(dir, ""); err != nil {
			t.Errorf("%d bytes left: %v", n-from, err)
		}
	}
}

// A record that is too long is left out, and this is noted.
func TestLongRecords(t *testing.T) {
	dir := t.TempDir()
	l, err := audit.Open(dir, 2, 64<<10, now)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long := strings.Repeat("x", 100<<10)
	detail, _ := json.Marshal(long)
	if _, err := l.Append(audit.Record{Time: now, What: "event/x/y", Cause: long, Detail: detail}); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(dir, ""); err != nil {
		t.Error(err)
	}
}
