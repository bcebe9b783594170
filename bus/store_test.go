package bus_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatewayd/bus"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func streamDir(dir, name string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", name)
}

func publishEvents(t testing.TB, b *bus.Bus, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		if err := b.Conn().Publish("gw.demo.event.a.healed", wrapperspb.String(fmt.Sprintf("event number %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Conn().Flush(within(t)); err != nil {
		t.Fatal(err)
	}
}

func events(t testing.TB, b *bus.Bus) []bus.Record {
	t.Helper()
	all, err := b.Conn().Events(within(t), "gw.*.event.>", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// flip flips one bit of the first file matching pattern that contains needle, at needle.
func flip(t *testing.T, pattern, needle string) {
	t.Helper()
	files, _ := filepath.Glob(pattern)
	for _, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(p, []byte(needle)); i >= 0 {
			p[i] ^= 1
			if err := os.WriteFile(f, p, 0o640); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no %s holds %q", pattern, needle)
}

func TestDamagedStore(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   bus.Loss // Moved is only compared for presence
		events int
	}{
		"flipped bit in a record": {
			func(t *testing.T, dir string) {
				flip(t, filepath.Join(streamDir(dir, "EVENTS"), "msgs", "*.blk"), "event number 150")
			},
			bus.Loss{Stream: "EVENTS", FromSeq: 151, ToSeq: 200, Reason: "at its end are missing", Moved: "yes"}, 0,
		},
		"flipped bit in meta.inf": {
			func(t *testing.T, dir string) { flip(t, filepath.Join(streamDir(dir, "EVENTS"), "meta.inf"), "gw.") },
			bus.Loss{Stream: "EVENTS", FromSeq: 1, ToSeq: 200, Reason: "cannot read", Moved: "yes"}, 0,
		},
		"flipped bit in meta.sum": {
			func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(streamDir(dir, "EVENTS"), "meta.sum"), []byte("0000"), 0o640); err != nil {
					t.Fatal(err)
				}
			},
			bus.Loss{Stream: "EVENTS", FromSeq: 1, ToSeq: 200, Reason: "cannot read", Moved: "yes"}, 0,
		},
		"directory gone": {
			func(t *testing.T, dir string) { os.RemoveAll(streamDir(dir, "EVENTS")) },
			bus.Loss{Stream: "EVENTS", FromSeq: 1, ToSeq: 200, Reason: "gone"}, 0,
		},
		"rubbish index": {
			func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(streamDir(dir, "EVENTS"), "msgs", "index.db"), []byte("rubbish"), 0o640); err != nil {
					t.Fatal(err)
				}
			},
			bus.Loss{}, 200,
		},
		"rubbish ledger": {
			func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "ledger.json"), []byte("{"), 0o640); err != nil {
					t.Fatal(err)
				}
			},
			bus.Loss{}, 200,
		},
		"nothing": {func(*testing.T, string) {}, bus.Loss{}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			change := func(c *bus.Config) { c.Dir = dir }
			b := start(t, change)
			publishEvents(t, b, 0, 200)
			b.Close()
			tc.damage(t, dir)
			b = start(t, change)
			r := b.Report()
			if r.Store != "" {
				t.Fatal(r.Store)
			}
			if tc.want.Stream == "" {
				if len(r.Losses) != 0 {
					t.Fatal(r.Losses)
				}
			} else {
				if len(r.Losses) != 1 {
					t.Fatalf("%+v", r.Losses)
				}
				got := r.Losses[0]
				if got.Stream != tc.want.Stream || got.FromSeq != tc.want.FromSeq || got.ToSeq != tc.want.ToSeq || !strings.Contains(got.Reason, tc.want.Reason) || (got.Moved != "") != (tc.want.Moved != "") {
					t.Fatalf("%+v", got)
				}
				if got.Moved != "" {
					if _, err := os.Stat(filepath.Join(got.Moved, "msgs")); err != nil {
						t.Error(err)
					}
				}
			}
			if got := events(t, b); len(got) != tc.events {
				t.Errorf("%d events are left, want %d", len(got), tc.events)
			}
			publishEvents(t, b, 200, 10)
			all := events(t, b)
			if len(all) != tc.events+10 || all[len(all)-1].Seq != 210 {
				t.Fatalf("%d events, %+v", len(all), all[len(all)-1])
			}
			if err := sings(t, b); err != nil {
				t.Fatal(err)
			}
			b.Close()
			if b = start(t, change); len(b.Report().Losses) != 0 {
				t.Error("reported again:", b.Report().Losses)
			}
		})
	}
}

// A hole in the middle of a stream of several blocks does not lose the rest.
func TestHoleInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	change := func(c *bus.Config) { c.Dir = dir }
	b := start(t, change)
	big := strings.Repeat("x", 100_000)
	for i := range 120 {
		if err := b.Conn().Publish("gw.demo.event.a.healed", wrapperspb.String(fmt.Sprintf("event number %d %s", i, big))); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Conn().Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	b.Close()
	blocks, _ := filepath.Glob(filepath.Join(streamDir(dir, "EVENTS"), "msgs", "*.blk"))
	if len(blocks) < 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	flip(t, blocks[0], "event number 5 ")
	b = start(t, change)
	r := b.Report()
	t.Log(len(blocks), "blocks", r.Losses)
	if len(r.Losses) != 1 || r.Losses[0].Moved != "" || r.Losses[0].FromSeq == 0 {
		t.Fatal(r.Losses)
	}
	if len(events(t, b)) < 20 {
		t.Error("too little is left")
	}
}

// small mounts a file system of the given size, because a full disk can only be tested on a disk
// that fills up.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small tmpfs needs root (run the tests as root or in a user namespace): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	disk := small(t, "3m")
	b := start(t, func(c *bus.Config) { c.Dir = filepath.Join(disk, "store") })
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	publishEvents(t, b, 0, 100)
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	for i := range 200 {
		if err := b.Conn().Publish("gw.demo.event.a.healed", wrapperspb.String(fmt.Sprint(i)+strings.Repeat("x", 10_000))); err != nil {
			t.Fatal(err)
		}
	}
	_ = b.Conn().Flush(within(t))
	if err := b.Canary(within(t)); err == nil {
		t.Fatal("the canary lives on a full disk")
	} else {
		t.Log(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := b.Canary(within(t)); err == nil {
		t.Fatal("a stream that failed to write cannot be well again without a restart")
	} else {
		t.Log(err)
	}
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	if r := b.Report(); len(r.Losses) != 0 {
		t.Error(r.Losses)
	}
	if n := len(events(t, b)); n < 100 {
		t.Errorf("%d events of 100 stored ones are left", n)
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; block = block[:len(block)/2] {
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
	}
}

func TestStartOnFullDisk(t *testing.T) {
	disk := small(t, "2m")
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	degraded(t, filepath.Join(disk, "store"), func() { _ = os.Remove(ballast) })
}

func TestStartOnReadOnlyDisk(t *testing.T) {
	disk := small(t, "2m")
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	degraded(t, filepath.Join(disk, "store"), func() {
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
	})
}

// degraded starts the bus on a disk that cannot be written: everything but the store works, and a
// Restart after the repair restores the store.
func degraded(t *testing.T, dir string, repair func()) {
	b := start(t, func(c *bus.Config) { c.Dir, c.Listen = dir, "127.0.0.1:0" })
	r := b.Report()
	t.Log(r)
	if r.Store == "" {
		t.Fatal("the report says that the store works")
	}
	if err := b.Canary(within(t)); err == nil {
		t.Fatal("the canary lives")
	}
	got := make(chan bus.Msg, 1)
	if _, err := b.Conn().Subscribe("gw.demo.data.>", func(m bus.Msg) { got <- m }); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Publish("gw.demo.data.a.x", wrapperspb.Int64(1)); err != nil {
		t.Fatal(err)
	}
	receive(t, got)
	if err := b.Restart(within(t)); err != nil {
		t.Fatal("restart without repair:", err)
	}
	repair()
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
}

// TestKilledChild is the process that TestKill kills; it does nothing by itself.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv("BUS_TEST_DIR")
	if dir == "" {
		return
	}
	b, err := bus.Start(bus.Config{Gateway: "demo", Dir: dir, Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := b.KV(within(t), "config", 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, err := kv.Put(within(t), "field/a", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("acked", i)
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), "BUS_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for last < 50 {
		if _, err := fmt.Fscanf(out, "acked %d\n", &last); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Process.Kill()
	for {
		var n int
		if _, err := fmt.Fscanf(out, "acked %d\n", &n); err != nil {
			break
		}
		last = n
	}
	_ = cmd.Wait()
	b := start(t, func(c *bus.Config) { c.Dir = dir })
	kv, err := b.KV(within(t), "config", 3)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(within(t), "field/a")
	var got int
	if _, e2 := fmt.Sscan(string(e.Value), &got); err != nil || e2 != nil || got < last {
		t.Fatalf("%d was acknowledged, %q is there: %v", last, e.Value, err)
	}
	if r := b.Report(); r.Store != "" || len(r.Losses) != 0 {
		t.Error(r)
	}
}
