package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gatewayd/protocols/journal/journaltest"
)

func open(t testing.TB, path string, most int) *Journal {
	t.Helper()
	j, lost, err := Open(path, most)
	if lost != nil || err != nil {
		t.Fatal(lost, err)
	}
	return j
}

func all(j *Journal) map[string]string {
	m := map[string]string{}
	j.Each(func(key string, value []byte) { m[key] = string(value) })
	return m
}

// Everything flushed survives a kill; what came after may.
func TestKilledJournalHasWhatWasFlushed(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n), "j")
		j, _, err := Open(path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			key := rapid.StringMatching("[a-d]{1,2}").Draw(t, "key")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				j.Delete(key)
				delete(want, key)
			case 1:
				j.DeleteAll(key)
				maps.DeleteFunc(want, func(k, _ string) bool { return strings.HasPrefix(k, key) })
			case 2:
				if err := j.Maintain(); err != nil {
					t.Fatal(err)
				}
			default:
				v := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value")
				if err := j.Put(key, v); err != nil {
					t.Fatal(err)
				}
				want[key] = string(v)
			}
		}
		if err := j.Flush(); err != nil {
			t.Fatal(err)
		}
		again, lost, err := Open(path, 1<<20) // the first one was killed: it is not closed
		if lost != nil || err != nil {
			t.Fatal(lost, err)
		}
		if got := all(again); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		_ = again.Close()
		_ = j.Close()
	})
}

// A file truncated or damaged anywhere gives a state that it once had, and reports the loss.
func TestDamagedFileIsReadUpToTheDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, 1<<20)
	for i := range 50 {
		_ = j.Put(fmt.Sprintf("key-%02d", i), []byte(strings.Repeat("x", i)))
	}
	_ = j.Flush()
	_ = j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 7 {
		for name, b := range map[string][]byte{"cut": whole[:at], "flipped": flipped(whole, at)} {
			_ = os.WriteFile(path, b, 0o600)
			j, lost, err := Open(path, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			j.Each(func(key string, value []byte) {
				if key != fmt.Sprintf("key-%02d", i) || len(value) != i {
					t.Fatalf("%s at %d: %s is %q", name, at, key, value)
				}
				i++
			})
			if name == "flipped" && lost == nil {
				t.Fatalf("a flipped bit at %d is not said", at)
			}
			_ = j.Close()
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1 << (at % 8)
	return b
}

func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, 10_000)
	defer j.Close()
	full := 0
	for i := range 300 {
		if err := j.Put(fmt.Sprint("k", i), make([]byte, 100)); errors.Is(err, ErrFull) {
			full++
		}
	}
	if full == 0 || full == 300 {
		t.Errorf("%d of 300 did not fit", full)
	}
	if err := j.Put("k0", make([]byte, 90)); err != nil {
		t.Errorf("what takes less than before: %v", err)
	}
	for i := range 100_000 {
		_ = j.Put("k0", fmt.Append(nil, i))
		_ = j.Flush()
		if i%10_000 == 0 {
			if err := j.Maintain(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Maintain(); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Size() > 10_000+int64(slack)*2 {
		t.Errorf("the file has %d bytes", st.Size())
	}
}

// A full disk costs only durability, which returns when there is room.
func TestFullDiskIsMended(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a tmpfs (run as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "j")
	j := open(t, path, 1<<20)
	defer j.Close()
	_ = j.Put("before", []byte("1"))
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	hog := filepath.Join(dir, "hog")
	_ = os.WriteFile(hog, make([]byte, 2<<20), 0o600) // all there is
	value := make([]byte, 1000)
	for i := range 1000 {
		_ = j.Put(fmt.Sprint("k", i%500), value)
		_ = j.Flush()
	}
	if j.Err() == nil || j.Maintain() == nil {
		t.Fatal("nobody says that the disk is full")
	}
	_ = j.Put("during", []byte("2"))
	_ = os.Remove(hog)
	for end := time.Now().Add(30 * time.Second); j.Maintain() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never mended:", j.Err())
		}
	}
	_ = j.Put("after", []byte("3"))
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, 1<<20)
	defer again.Close()
	if got := all(again); len(got) != 503 || got["before"] != "1" || got["during"] != "2" || got["after"] != "3" {
		t.Errorf("%d values are there", len(got))
	}
}

func TestManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, 8<<20)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				_ = j.Put(fmt.Sprint(g, "/", i%100), bytes.Repeat([]byte{byte(i)}, 300))
				if err := j.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if err := j.Maintain(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	_ = j.Close()
	again := open(t, path, 8<<20)
	defer again.Close()
	got := all(again)
	if len(got) != 400 {
		t.Errorf("%d values", len(got))
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		var g, i int
		_, _ = fmt.Sscanf(key, "%d/%d", &g, &i)
		if v := got[key]; len(v) != 300 || v[0] != byte(1900+i) {
			t.Fatalf("%s is %d bytes of %x", key, len(v), v[0])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(appendRecord(nil, record{"key", []byte("value")}))
	f.Add(appendRecord(nil, record{key: "gone"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := parse(b)
		if err != nil {
			return
		}
		if got := appendRecord(nil, r); !bytes.Equal(got, b[:n]) {
			t.Errorf("% x is written % x", b[:n], got)
		}
	})
}

// A rewrite that hangs on the disk and continues after the next journal has opened the file does
// not replace the file, nor does any later operation.
func TestAbandonedJournalLeavesTheFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	old := open(t, path, 1<<20)
	_ = old.Put("x", make([]byte, 600<<10))
	_ = old.Put("x", []byte("old"))
	_ = old.Flush()
	hanging, back := journaltest.Hang(t, filepath.Dir(path))
	tended, closed := make(chan error, 1), make(chan error, 1)
	go func() { tended <- old.Maintain() }()
	<-hanging
	go func() { closed <- old.Close() }()
	old.Abandon()
	next := open(t, path, 1<<20)
	_ = next.Put("x", []byte("next"))
	_ = next.Flush()
	back()
	if err := <-tended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("tending what is abandoned: %v", err)
	}
	<-closed
	_ = next.Put("y", []byte("next"))
	_ = next.Flush()
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("%q are there", names)
	}
	again := open(t, path, 1<<20)
	if got, want := all(again), map[string]string{"x": "next", "y": "next"}; !maps.Equal(got, want) {
		t.Errorf("%v is there, want %v", got, want)
	}
	_, _ = again.Close(), next.Close()
}

// Files left by a rewrite that a power cut interrupted are removed, and no others.
func TestLeftoversAreSweptUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	for _, name := range []string{path + ".new-123", path + ".other"} {
		if err := os.WriteFile(name, []byte(magic), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = open(t, path, 1<<20).Close()
	if names, _ := filepath.Glob(path + "*"); !slices.Equal(names, []string{path, path + ".other"}) {
		t.Errorf("%q are there", names)
	}
}
