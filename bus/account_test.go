package bus_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/bus"
	"gatewayd/protocols/record"

	"golang.org/x/sys/unix"
)

// Accounting: what a killed process was told to be on disk is compared with what is found there
// afterwards. The account is kept outside that process, in the test that reads its output.

var soak = flag.Int("soak", 0, "rounds of each accounting test; 0: a few")

func rounds(few int) int {
	if *soak > 0 {
		return *soak
	}
	return few
}

const (
	victimDir    = "GATEWAYD_TEST_VICTIM" // makes the test binary a process that writes tracks there until it is killed
	victimTracks = 8
	victimBoot   = "0f8fad5b-d9cb-469f-a165-70867728950e"
)

func victimConfig(dir string) bus.Config {
	return bus.Config{Gateway: "demo", Dir: dir, Reserve: 1, Log: slog.New(slog.DiscardHandler)}
}

// victim writes tracks, and prints one line per record that is on disk.
func victim(dir string) error {
	b, err := bus.Start(victimConfig(dir))
	if err != nil {
		return err
	}
	defer b.Close()
	failed := make(chan error)
	for i := range victimTracks {
		go func() { failed <- writeTrack(b.Conn(), fmt.Sprintf("t%d", i)) }()
	}
	return <-failed
}

func writeTrack(c *bus.Conn, name string) error {
	st, err := c.Track(context.Background(), trackOf(name))
	if err != nil {
		return err
	}
	next := nextOf(st)
	for done := make(chan error, 1); ; {
		n := 1 + rand.IntN(20)
		payload, err := record.Encode(chunkOf(next, n))
		if err != nil {
			return err
		}
		c.Keep(trackOf(name), record.ChunkType, payload, bus.Normal, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
		next += uint64(n)
		if _, err := fmt.Printf("%s %d\n", name, next-1); err != nil {
			return err
		}
	}
}

// nextOf returns the sequence at which a track continues, found as its actor finds it.
func nextOf(st bus.TrackState) uint64 {
	next := uint64(1)
	if head, err := record.DecodeHead(st.Newest.Data); err == nil {
		next = head.Next()
	}
	if st.Newest.Seq <= st.LossMark() {
		next = max(next, st.LossMark()*record.MaxChunk+1)
	}
	return next
}

// chunkOf returns a chunk of records whose values are their sequences.
func chunkOf(first uint64, n int) *record.Chunk {
	c := &record.Chunk{Number: 1, First: first, Count: uint64(n), Boot: victimBoot}
	for i := range n {
		s := first + uint64(i)
		c.Records = append(c.Records, record.Record{
			Sequence: s, Boot: victimBoot, Trusted: true, Time: time.Unix(1_780_000_000, int64(s)), Fields: []record.Field{{Name: "n", ID: 1, Value: s}},
		})
	}
	return c
}

// account is what is known about the tracks of the victims.
type account struct {
	t     *testing.T
	acked map[string]uint64
}

// run lets a victim write until it has printed so many lines, and a little longer, and then kills
// it; after is called at once.
func (a *account) run(dir string, lines int, after func()) {
	a.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	take := func() bool {
		if !said.Scan() {
			return false
		}
		var name string
		var seq uint64
		if _, err := fmt.Sscan(said.Text(), &name, &seq); err == nil { // the last line may be incomplete
			a.acked[name] = max(a.acked[name], seq)
		}
		return true
	}
	for range lines {
		if !take() {
			a.t.Fatal("the victim died by itself")
		}
	}
	<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond) // so that the kill may hit any operation
	_ = cmd.Process.Kill()
	after()
	for take() {
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
}

// check reads everything stored below dir and compares it with the account.
func (a *account) check(dir string) {
	a.t.Helper()
	b, err := bus.Start(victimConfig(dir))
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { b.Close() }()
	for slow := 0; strings.Contains(b.Report().Store, context.DeadlineExceeded.Error()) && slow < 5; slow++ { // the machine is busy
		b.Close()
		if b, err = bus.Start(victimConfig(dir)); err != nil {
			a.t.Fatal(err)
		}
	}
	if r := b.Report(); r.Store != "" || len(r.Losses) > 0 {
		a.t.Errorf("%+v", r)
	}
	for name, acked := range a.acked {
		last := a.last(b, name)
		if last < acked {
			a.t.Errorf("%s: %d was on disk, and there is %d", name, acked, last)
		}
	}
}

// last reads a track: all records must be in order, unchanged, with none missing.
func (a *account) last(b *bus.Bus, name string) (last uint64) {
	a.t.Helper()
	var follow record.Follow
	err := b.Conn().Stored(within(a.t), trackOf(name), 1, func(m bus.Stored) error {
		records, gaps, err := follow.Chunk(name, m.Data)
		if len(gaps) > 0 {
			a.t.Errorf("%v", gaps)
		}
		for _, r := range records {
			if last != 0 && r.Sequence != last+1 || r.Fields[0].Value != r.Sequence {
				a.t.Errorf("%s: %+v after %d", name, r, last)
			}
			last = r.Sequence
		}
		return err
	})
	if err != nil {
		a.t.Error(err)
	}
	return last
}

func TestAccountKilled(t *testing.T) {
	const perStore = 40 // all of a store is read after each run
	var dir string
	var a *account
	for i := range rounds(5) {
		if i%perStore == 0 {
			dir, a = filepath.Join(t.TempDir(), "store"), &account{t, map[string]uint64{}}
		}
		a.run(dir, 20+rand.IntN(40), func() {})
		a.check(dir)
		if i%perStore == perStore-1 {
			t.Logf("%d rounds: %v", i+1, a.acked)
			_ = os.RemoveAll(dir)
		}
	}
	t.Log(a.acked)
}

// Simulates a power cut: the disk has what had reached it when the process died. What the kernel
// had not written yet is not in the copy.
func TestAccountPowerCut(t *testing.T) {
	base := small(t, "400m")
	for range rounds(2) {
		a := &account{t, map[string]uint64{}}
		disk, copied := filepath.Join(base, "disk"), filepath.Join(base, "copy")
		// New files: a process that creates a mount namespace meanwhile keeps the old ones mounted,
		// and written to, for a while.
		shell(t, "rm -f "+disk+" "+copied+" && truncate -s 100m "+disk+" && mkfs.ext4 -q -F "+disk)
		dir := loopMount(t, disk)
		shell(t, "sync -f "+dir)
		a.run(filepath.Join(dir, "store"), 40+rand.IntN(40), func() { moment(t, disk, copied) })
		unmount(t, dir)
		dir = loopMount(t, copied)
		a.check(filepath.Join(dir, "store"))
		unmount(t, dir)
		if len(a.acked) != victimTracks {
			t.Errorf("only %v", a.acked)
		}
	}
}

// moment copies a disk as it was at one moment, while the kernel writes to it: blocks that are
// unchanged after everything was copied had that content when the copy ended.
func moment(t *testing.T, disk, copied string) {
	t.Helper()
	shell(t, "for i in $(seq 50); do cp --sparse=always "+disk+" "+copied+" && cmp -s "+disk+" "+copied+" && exit 0; done; echo it never rests; exit 1")
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s (e2fsprogs or mount is missing: apt-get install -y e2fsprogs mount)", command, err, out)
	}
}

func loopMount(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	shell(t, "mount -o loop "+image+" "+dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	shell(t, "for i in 1 2 3 4 5 6 7 8; do umount "+dir+" && exit 0; sleep 0.3; done; exit 1")
}

// On a full disk no tracks are accepted and none that were accepted are lost. The reserve stays for
// others. When there is space again, tracks are written again.
func TestAccountFullDisk(t *testing.T) {
	disk := small(t, "40m")
	dir := filepath.Join(disk, "store")
	b := start(t, func(c *bus.Config) { c.Dir, c.Reserve = dir, 12<<20 })
	write := func(first uint64) error {
		payload, err := record.Encode(chunkOf(first, 10))
		if err != nil {
			t.Fatal(err)
		}
		_, err = keep(t, b, "a", string(payload))
		return err
	}
	next := uint64(1)
	for ; next < 200; next += 10 {
		if err := write(next); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(disk, "ballast")
	shell(t, "head -c 33000000 /dev/zero >"+ballast)
	var full *bus.Error
	if err := write(next); !errors.As(err, &full) || full.Code != bus.ResourceExhausted {
		t.Fatalf("with less than the reserve left: %v", err)
	}
	publishEvents(t, b, 0, 100)
	if err := sings(t, b); err != nil {
		t.Errorf("others have no room: %v", err)
	}
	fill(t, filepath.Join(disk, "more"))
	_ = write(next)
	_ = os.Remove(filepath.Join(disk, "more"))
	_ = os.Remove(ballast)
	if err := write(next); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	a := &account{t, nil}
	if last := a.last(b, "a"); last != next+9 {
		t.Errorf("the last record is %d, want %d", last, next+9)
	}
	if n := len(events(t, b)); n != 100 {
		t.Errorf("%d events of 100", n)
	}
}

// With one wrong byte in any file of the store the bus starts and accepts records, no record is
// returned changed, no sequence is used twice, losses are reported, and a reader misses nothing
// that is still there.
func TestAccountFlippedByte(t *testing.T) {
	for _, class := range []string{"msgs/*.blk", "meta.inf", "meta.sum", "msgs/index.db", "obs/*/meta.inf", "obs/*/meta.sum", "obs/*/o.dat"} {
		t.Run(strings.NewReplacer("/", " ", "*", "x").Replace(class), func(t *testing.T) {
			dir := t.TempDir()
			b := start(t, func(c *bus.Config) { c.Dir = dir })
			write := func(next uint64) {
				payload, err := record.Encode(chunkOf(next, 10))
				if err != nil {
					t.Fatal(err)
				}
				kept(t, b, "a", string(payload))
			}
			next := uint64(1)
			for ; next < 300; next += 10 {
				write(next)
			}
			r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
			_, last := texts(t, r, 10)
			if err := r.Ack(last); err != nil {
				t.Fatal(err)
			}
			b.Close()
			spoil(t, filepath.Join(streamDir(dir, "TRACKS"), class))

			b = start(t, func(c *bus.Config) { c.Dir = dir })
			st, err := b.Conn().Track(within(t), trackOf("a"))
			if err != nil {
				t.Fatalf("%v; %+v", err, b.Report())
			}
			from := nextOf(st)
			if from < next {
				t.Errorf("record %d is given out again after %d", from, next-1)
			}
			if lost := len(b.Report().Losses) > 0; lost != (st.Messages < 30) {
				t.Errorf("%d messages of 30 are left, reported is %v", st.Messages, b.Report().Losses)
			}
			write(from)
			t.Log(st.Messages, "of 30 messages are left;", b.Report().Losses)
			readOn(t, b, int(st.Messages), from)
		})
	}
}

// readOn reads up to the record that was written last: everything left beyond what was acknowledged
// must be delivered.
func readOn(t *testing.T, b *bus.Bus, left int, until uint64) {
	t.Helper()
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	var follow record.Follow
	for chunks := 0; ; {
		all, err := r.Next(within(t), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			records, _, err := follow.Chunk("a", m.Data)
			if err != nil {
				t.Fatal(err)
			}
			chunks++
			for _, one := range records {
				if one.Fields[0].Value != one.Sequence {
					t.Errorf("%+v has been changed", one)
				}
				if one.Sequence == until {
					if chunks < left-10+1 {
						t.Errorf("%d chunks came, of %d that are left 10 were acknowledged", chunks-1, left)
					}
					return
				}
			}
		}
	}
}

// spoil flips a bit in the middle of the first file that matches pattern.
func spoil(t *testing.T, pattern string) {
	t.Helper()
	files, _ := filepath.Glob(pattern)
	if len(files) == 0 {
		t.Fatalf("there is no %s", pattern)
	}
	p, err := os.ReadFile(files[0])
	if err != nil || len(p) == 0 {
		t.Fatalf("%s: %d bytes, %v", files[0], len(p), err)
	}
	p[len(p)/2] ^= 4
	if err := os.WriteFile(files[0], p, 0o640); err != nil {
		t.Fatal(err)
	}
}
