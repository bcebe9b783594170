package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/bus"
	"gatewayd/protocols/record"
)

const chunkType = "application/vnd.gatewayd.records"

func trackOf(name string) string {
	return bus.Subject("demo", bus.Track, "tracks/"+name, "records")
}

// keep writes one message and waits for its outcome.
func keep(t testing.TB, b *bus.Bus, name, text string) (uint64, error) {
	t.Helper()
	type outcome struct {
		seq uint64
		err error
	}
	ch := make(chan outcome, 1)
	b.Conn().Keep(trackOf(name), chunkType, []byte(text), bus.Normal, func(seq uint64, err error) { ch <- outcome{seq, err} })
	select {
	case o := <-ch:
		return o.seq, o.err
	case <-within(t).Done():
		t.Fatal("no outcome")
		return 0, nil
	}
}

func kept(t testing.TB, b *bus.Bus, name, text string) uint64 {
	t.Helper()
	seq, err := keep(t, b, name, text)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func openReader(t testing.TB, b *bus.Bus, cfg bus.ReaderConfig) *bus.Reader {
	t.Helper()
	r, err := b.Conn().Reader(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// texts reads n messages.
func texts(t testing.TB, r *bus.Reader, n int) (all []string, last uint64) {
	t.Helper()
	for len(all) < n {
		some, err := r.Next(within(t), n-len(all))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range some {
			all, last = append(all, m.Path+" "+string(m.Data)), m.Seq
		}
	}
	return all, last
}

func TestTracks(t *testing.T) {
	b := start(t, nil)
	var group sync.WaitGroup
	for i := range 30 {
		group.Add(1)
		b.Conn().Keep(trackOf(fmt.Sprintf("t%02d", i)), chunkType, []byte("one"), bus.Normal, func(seq uint64, err error) {
			if err != nil || seq == 0 {
				t.Errorf("track %d: %d %v", i, seq, err)
			}
			group.Done()
		})
	}
	group.Wait()
	if seq := kept(t, b, "t00", "two"); seq != 31 {
		t.Errorf("the 31st message has sequence %d", seq)
	}

	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a", Tracks: []string{"tracks/t00", "tracks/t29"}})
	got, _ := texts(t, r, 3)
	if want := []string{"tracks/t00 one", "tracks/t29 one", "tracks/t00 two"}; !slices.Equal(got, want) {
		t.Fatalf("read %q, want %q", got, want)
	}
	if n, behind, err := r.Backlog(within(t), true); err != nil || n != 3 || len(behind) != 2 ||
		string(behind[0].Oldest.Data) != "one" || string(behind[0].Newest.Data) != "two" || behind[1].Path != "tracks/t29" {
		t.Errorf("backlog %d %+v %v", n, behind, err)
	}
	st, err := b.Conn().Track(within(t), trackOf("t00"))
	if err != nil || st.Messages != 2 || string(st.Oldest.Data) != "one" || string(st.Newest.Data) != "two" || st.Unread != 1 || st.Bytes == 0 || st.Room == 0 {
		t.Errorf("state %+v %v", st, err)
	}
}

// A deadline is always reported in the same way.
func TestNextInTime(t *testing.T) {
	b := start(t, nil)
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	for i := range 60 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*100)*time.Microsecond)
		_, err := r.Next(ctx, 1)
		cancel()
		if e := bus.AsError(err); e == nil || e.Code != bus.DeadlineExceeded {
			t.Fatalf("after %d: %v", i, err)
		}
	}
}

// Unacknowledged messages are delivered again in order, also to a reader that opens the position
// again.
func TestReaderPlace(t *testing.T) {
	b := start(t, nil)
	for i := range 10 {
		kept(t, b, "a", fmt.Sprint(i))
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a", Tracks: []string{"#"}})
	texts(t, r, 7)
	if err := r.Ack(4); err != nil {
		t.Fatal(err)
	}
	check := func(first string) {
		t.Helper()
		got, _ := texts(t, r, 3)
		if got[0] != "tracks/a "+first {
			t.Fatalf("begins with %q, want %s", got[0], first)
		}
	}
	if err := r.Rewind(within(t)); err != nil {
		t.Fatal(err)
	}
	check("4")
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	r = openReader(t, b, bus.ReaderConfig{Name: "uplink/a", Tracks: []string{"tracks/+"}}) // another filter, the same position
	check("4")
	ctx, cancel := context.WithCancel(context.Background())
	texts(t, r, 3)
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := r.Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	check("4") // an error rewinds
	texts(t, r, 3)
	if err := r.Ack(10); err != nil {
		t.Fatal(err)
	}
	go func() { kept(t, b, "a", "10") }()
	check2, _ := texts(t, r, 1)
	if check2[0] != "tracks/a 10" {
		t.Fatalf("read %q", check2)
	}
	if late := openReader(t, b, bus.ReaderConfig{Name: "uplink/late", New: true}); late != nil {
		if n, _, err := late.Backlog(within(t), false); n != 0 || err != nil {
			t.Errorf("a new reader has %d to read: %v", n, err)
		}
	}
}

// A consumer that has disappeared is recreated after the last acknowledged message, unless its
// position was removed.
func TestAReaderWithoutAPlace(t *testing.T) {
	b := start(t, nil)
	for i := range 10 {
		kept(t, b, "a", fmt.Sprint(i))
	}
	lose := func() {
		t.Helper()
		if err := b.LosePlace(within(t), "uplink/a"); err != nil {
			t.Fatal(err)
		}
	}
	check := func(r *bus.Reader, want string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; {
			switch all, err := r.Next(within(t), 1); {
			case err == nil:
				if got := all[0].Path + " " + string(all[0].Data); got != "tracks/a "+want {
					t.Fatalf("begins with %q, want %s", got, want)
				}
				return
			case time.Now().After(end):
				t.Fatal(err)
			}
		}
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	texts(t, r, 2)
	lose()
	check(r, "0") // nothing was acknowledged
	texts(t, r, 6)
	if err := r.Ack(4); err != nil {
		t.Fatal(err)
	}
	lose()
	r.Shed() // otherwise Next returns the messages fetched ahead first
	check(r, "4")
	if n, _, err := r.Backlog(within(t), false); n != 6 || err != nil {
		t.Errorf("%d are not acknowledged, %v", n, err)
	}
	waits := make(chan error, 1)
	if _, last := texts(t, r, 5); r.Ack(last) != nil {
		t.Fatal("not acknowledged")
	}
	go func() {
		_, err := r.Next(within(t), 1)
		waits <- err
	}()
	lose() // while it waits for the next one, or before
	kept(t, b, "a", "10")
	if err := <-waits; err != nil {
		check(r, "10")
	}
	lose()
	check(openReader(t, b, bus.ReaderConfig{Name: "uplink/a", New: true}), "10") // a new life

	b.Expect(nil)
	b.ForgetOthers()
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Next(within(t), 1); err == nil {
			t.Fatal("it reads at a place that was given up")
		}
	}
	if b.LosePlace(within(t), "uplink/a") == nil {
		t.Error("the place is back that was given up")
	}
}

func TestTornTracks(t *testing.T) {
	dir := t.TempDir()
	open := func() *bus.Bus { return start(t, func(c *bus.Config) { c.Dir = dir }) }
	b := open()
	for i := range 60 {
		kept(t, b, "a", fmt.Sprintf("chunk number %d", i))
	}
	b.Close()
	flip(t, filepath.Join(streamDir(dir, "TRACKS"), "msgs", "*.blk"), "chunk number 40")
	b = open()
	if l := b.Report().Losses; len(l) != 1 || l[0].FromSeq != 41 || l[0].ToSeq != 60 || l[0].Moved != "" {
		t.Errorf("reported %v", l)
	}
	st, err := b.Conn().Track(within(t), trackOf("a"))
	if err != nil || st.LossMark() < 60 {
		t.Fatalf("%+v %v", st, err)
	}
	seq := kept(t, b, "a", "after")
	if st.Messages != 40 {
		t.Errorf("%d of the 40 messages before the damage are left", st.Messages)
	}
	if seq <= 60 {
		t.Errorf("sequence %d is given out again", seq)
	}
}

// A reader that has not reached the first loss when a second one occurs is told of both, and that
// the number of lost records is unknown.
func TestTracksTornTwice(t *testing.T) {
	dir := t.TempDir()
	open := func() *bus.Bus { return start(t, func(c *bus.Config) { c.Dir = dir }) }
	tear := func(at string) *bus.Bus {
		flip(t, filepath.Join(streamDir(dir, "TRACKS"), "msgs", "*.blk"), at)
		b := open()
		if l := b.Report().Losses; len(l) != 1 {
			t.Fatalf("reported %v", l)
		}
		return b
	}
	b := open()
	next := uint64(1)
	write := func(n int) {
		t.Helper()
		for range n {
			payload, err := record.Encode(chunkOf(next, 1))
			if err != nil {
				t.Fatal(err)
			}
			next++
			kept(t, b, "a", string(payload))
		}
	}
	goOn := func() uint64 {
		st, err := b.Conn().Track(within(t), trackOf("a"))
		if err != nil {
			t.Fatal(err)
		}
		next = nextOf(st)
		return next
	}
	write(40)
	mark := kept(t, b, "b", "the first block that is torn")
	write(20)
	b.Close()
	b = tear("the first block that is torn")
	first := goOn()
	write(30)
	kept(t, b, "b", "the second block that is torn")
	write(5)
	b.Close()
	b = tear("the second block that is torn")
	second := goOn()
	write(1)
	if first <= 60 || second <= first+35 || mark == 0 {
		t.Fatalf("the track went on with %d and %d", first, second)
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a", Tracks: []string{"tracks/a"}})
	release := b.Writing() // a stuck disk affects nobody else
	defer release()
	var follow record.Follow
	var told []record.Gap
	for n := 0; n < 71; {
		all, err := r.Next(within(t), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			n++
			_, gaps, err := follow.Chunk(m.Path, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range gaps {
				told = append(told, g.Judge(r.LossMarks())...)
			}
		}
	}
	want := []record.Gap{
		{Track: "tracks/a", From: 41, To: first - 1, Why: record.Unclear},
		{Track: "tracks/a", From: first + 30, To: second - 1, Why: record.Unclear},
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// When the tracks exceed their space, the lowest priority is dropped first, oldest messages first.
// The last message of a track stays, because it records how far the track is.
func TestPriorities(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.MaxTracks = 1 << 20 })
	write := func(name string, p bus.Priority, size int) {
		t.Helper()
		done := make(chan error, 1)
		b.Conn().Keep(trackOf(name), chunkType, make([]byte, size), p, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	state := func(name string) bus.TrackState {
		t.Helper()
		st, err := b.Conn().Track(within(t), trackOf(name))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	const big = 20_000
	for range 10 {
		write("high", bus.High, big)
	}
	write("quiet", bus.Low, 1)
	for range 70 {
		write("low", bus.Low, big)
	}
	if st := state("high"); st.Messages != 10 {
		t.Errorf("%d of 10 messages of high priority are left", st.Messages)
	}
	if st := state("quiet"); st.Messages != 1 {
		t.Error("the last word of a quiet track is gone")
	}
	st := state("low")
	if st.Messages < 10 || st.Messages > 45 || st.Oldest.Seq == 12 || st.Bytes > st.Room {
		t.Errorf("%d of 70 messages of low priority are left, from %d on, %d of %d bytes", st.Messages, st.Oldest.Seq, st.Bytes, st.Room)
	}
}

// The only message of a track of higher priority stays, although it is the oldest.
func TestPriorityOfASingleMessage(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.MaxTracks = 1 << 20 })
	done := make(chan error, 1)
	b.Conn().Keep(trackOf("high"), chunkType, []byte("x"), bus.High, func(_ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for range 60 {
		kept(t, b, "normal", strings.Repeat("x", 20_000))
	}
	if st, err := b.Conn().Track(within(t), trackOf("high")); err != nil || st.Messages != 1 {
		t.Errorf("%d messages, %v", st.Messages, err)
	}
}

// Messages that a reader had received but not acknowledged when they were dropped for space count
// as unread.
func TestUnreadWhenDropped(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.MaxTracks = 1 << 20 })
	kept(t, b, "a", "first")
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	texts(t, r, 1)
	unread := func() uint64 {
		t.Helper()
		st, err := b.Conn().Track(within(t), trackOf("a"))
		if err != nil {
			t.Fatal(err)
		}
		if st.Oldest.Seq == 1 {
			t.Fatal("nothing is dropped")
		}
		return st.Unread
	}
	last := uint64(0)
	for range 100 {
		last = kept(t, b, "a", strings.Repeat("x", 20_000))
	}
	if at := unread(); at != 1 {
		t.Errorf("unread from %d on", at)
	}
	st, err := b.Conn().Track(within(t), trackOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	_, behind, err := r.Backlog(within(t), true)
	if err != nil || len(behind) != 1 || behind[0].Oldest.Seq != 1 || behind[0].Held.Seq != 1 || behind[0].Next.Seq != st.Oldest.Seq || behind[0].Newest.Seq != last {
		t.Errorf("behind: %v, %v; %d to %d are stored", behind, err, st.Oldest.Seq, last)
	}
	for got := uint64(0); got < last; {
		all, err := r.Next(within(t), 100)
		if err != nil {
			t.Fatal(err)
		}
		got = all[len(all)-1].Seq
	}
	if err := r.Ack(last); err != nil {
		t.Fatal(err)
	}
	if at := unread(); at != last+1 {
		t.Errorf("unread from %d on when %d were acknowledged", at, last)
	}
}

// Dropping a message of one track that a reader had received does not acknowledge those of another
// track before it: after a restart they are delivered.
func TestDropsAcknowledgeNothingElse(t *testing.T) {
	dir := t.TempDir()
	open := func() (*bus.Bus, *bus.Reader) {
		b := start(t, func(c *bus.Config) { c.Dir, c.MaxTracks = dir, 1<<20 })
		return b, openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	}
	b, r := open()
	write := func(name string, p bus.Priority, size int) {
		t.Helper()
		done := make(chan error, 1)
		b.Conn().Keep(trackOf(name), chunkType, make([]byte, size), p, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	const size = 80_000
	for range 8 {
		write("high", bus.High, size)
	}
	for range 3 {
		write("low", bus.Low, size)
	}
	first := func(last uint64) (seq uint64) {
		t.Helper()
		for got := uint64(0); got < last; {
			all, err := r.Next(within(t), 100)
			if err != nil {
				t.Fatal(err)
			}
			if got == 0 {
				seq = all[0].Seq
			}
			got = all[len(all)-1].Seq
		}
		return seq
	}
	if seq := first(11); seq != 1 {
		t.Fatalf("the first message is %d", seq)
	}
	write("low", bus.Low, size)
	st, err := b.Conn().Track(within(t), trackOf("low"))
	for ; err == nil && st.Oldest.Seq == 9; st, err = b.Conn().Track(within(t), trackOf("low")) { // room is made after the commit
	}
	if err != nil {
		t.Fatal(err)
	}
	write("high", bus.High, 7)
	first(13) // by then the server has dealt with what was dropped
	b.Close()
	_, r = open()
	if seq := first(1); seq != 1 {
		t.Errorf("after a restart the first message is %d", seq)
	}
}

// An expected reader counts from the start, whether it has opened its position or not; other
// readers do not. Their positions stay until ForgetOthers. A reader opened meanwhile keeps its
// position, and so does a reader of what it has written itself.
func TestReadersThatAreNoMore(t *testing.T) {
	dir := t.TempDir()
	open := func() *bus.Bus { return start(t, func(c *bus.Config) { c.Dir = dir }) }
	b := open()
	for i := range 3 {
		kept(t, b, "a", fmt.Sprint(i))
	}
	for _, name := range []string{"uplink/a", "uplink/b"} {
		r := openReader(t, b, bus.ReaderConfig{Name: name})
		if _, last := texts(t, r, 1); r.Ack(last) != nil {
			t.Fatal("not acknowledged")
		}
		if name == "uplink/b" {
			break
		}
		if _, last := texts(t, r, 1); r.Ack(last) != nil {
			t.Fatal("not acknowledged")
		}
	}
	unread := func(want, owed uint64) {
		t.Helper()
		if st, err := b.Conn().Track(within(t), trackOf("a")); err != nil || st.Unread != want || st.Owed.Seq != owed {
			t.Errorf("unread from %d on, and %d is owed, want %d and %d, %v", st.Unread, st.Owed.Seq, want, owed, err)
		}
	}
	sing := func() {
		t.Helper()
		if err := sings(t, b); err != nil {
			t.Fatal(err)
		}
	}
	unread(2, 2)
	b.Expect([]string{"uplink/a"})
	unread(3, 3)
	b.Close()
	b = open()
	unread(0, 0) // Expect was not called
	b.Expect([]string{"uplink/a"})
	unread(3, 3)
	b.Expect([]string{"uplink/b"})
	unread(2, 2)
	b.Expect([]string{"uplink/a"})
	sing()
	b.Expect([]string{"uplink/b"}) // the reader is back: no position was removed
	unread(2, 2)
	openReader(t, b, bus.ReaderConfig{Name: "bridge/a", Tracks: []string{"bridge/a"}})
	b.Expect(nil)
	openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	b.ForgetOthers()
	sing()
	unread(3, 3)
	if r := openReader(t, b, bus.ReaderConfig{Name: "uplink/b"}); !r.Anew() {
		t.Error("the place that was given up is still there")
	}
	if r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"}); r.Anew() {
		t.Error("a place that is in use was given up")
	}
	if r := openReader(t, b, bus.ReaderConfig{Name: "bridge/a", Tracks: []string{"bridge/a"}}); r.Anew() {
		t.Error("what has gone out would go again")
	}
}

// If the lowest priority holds hardly anything, the next one is dropped as well, but not the
// highest.
func TestPrioritiesInTurn(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.MaxTracks = 1 << 20 })
	write := func(name string, p bus.Priority, size int) {
		t.Helper()
		done := make(chan error, 1)
		b.Conn().Keep(trackOf(name), chunkType, make([]byte, size), p, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		write("high", bus.High, 20_000)
	}
	for range 200 {
		write("low", bus.Low, 100)
		write("normal", bus.Normal, 10_000)
	}
	for name, least := range map[string]uint64{"high": 10, "normal": 20, "low": 1} {
		st, err := b.Conn().Track(within(t), trackOf(name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Messages < least || name == "high" && st.Messages != 10 {
			t.Errorf("of track %s there are %d messages", name, st.Messages)
		}
	}
}

// Batches of many tracks are staged in memory, which is released when the bus is closed. Peek looks
// ahead of a reader's position without moving it.
func TestManyTracksAtOnce(t *testing.T) {
	dir := t.TempDir()
	b, err := bus.Start(bus.Config{Gateway: "demo", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplinks/cloud", Tracks: []string{"tracks/#", "others/#"}})
	const tracks = 30
	outcomes := make(chan error, tracks)
	for round := range 3 {
		for i := range tracks {
			b.Conn().Keep(trackOf(fmt.Sprint("t", i)), chunkType, fmt.Append(nil, round, i), bus.Normal, func(_ uint64, err error) { outcomes <- err })
		}
		for range tracks {
			select {
			case err := <-outcomes:
				if err != nil {
					t.Fatal(err)
				}
			case <-within(t).Done():
				t.Fatal("no outcome")
			}
		}
	}
	links, err := filepath.Glob(filepath.Join(dir, "*", "*", "streams", "TRACKS", "batches"))
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	staging, err := os.Readlink(links[0])
	if err != nil {
		t.Errorf("batches are not staged in memory: %v", err)
	}
	end, err := r.End(within(t))
	if err != nil || end < 3*tracks {
		t.Errorf("the end is %d: %v", end, err)
	}
	ahead, err := r.Peek(within(t), end-9, 5)
	if err != nil || len(ahead) != 5 || ahead[0].Seq != end-9 || ahead[4].Seq != end-5 {
		t.Errorf("%v: %v", ahead, err)
	}
	if ahead, err = r.Peek(within(t), end+1, 5); err != nil || len(ahead) > 0 {
		t.Errorf("%v: %v", ahead, err)
	}
	if all, _ := texts(t, r, 3*tracks); all[0] != "0 0" && len(all) != 3*tracks {
		t.Errorf("%q", all)
	}
	b.Close()
	if _, err := os.Stat(staging); staging != "" && err == nil {
		t.Errorf("%s is left", staging)
	}
}

// A reader fetches more from the server than was asked for. Messages not returned yet are neither
// lost nor acknowledged with those that were, and count in the backlog.
func TestReaderTakesAhead(t *testing.T) {
	b := start(t, nil)
	const n = 60
	for i := range n {
		kept(t, b, []string{"a", "b"}[i%2], fmt.Sprint(i))
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	texts(t, r, 2) // now it knows how long they are
	_, last := texts(t, r, 2)
	if came, err := b.Delivered(within(t), "uplink/a"); came != n || err != nil {
		t.Errorf("%d messages were taken, want all %d at once: %v", came, n, err)
	}
	if err := r.Ack(last); err != nil {
		t.Fatal(err)
	}
	left := func() uint64 {
		t.Helper()
		left, behind, err := r.Backlog(within(t), true)
		if err != nil || len(behind) != 2 {
			t.Fatalf("%v, %v", behind, err)
		}
		if a, b := behind[0], behind[1]; string(a.Oldest.Data) != "4" || string(b.Oldest.Data) != "5" || string(a.Newest.Data) != "58" || string(b.Newest.Data) != "59" {
			t.Fatalf("%+v", behind)
		}
		return left
	}
	for end := time.Now().Add(10 * time.Second); left() != n-4; time.Sleep(time.Millisecond) { // acknowledgements arrive asynchronously
		if time.Now().After(end) {
			t.Fatalf("%d are left", left())
		}
	}
	r.Shed()
	left()
	all, last := texts(t, r, n-4)
	if all[0] != "tracks/a 4" || all[n-5] != "tracks/b 59" {
		t.Errorf("read %q", all)
	}
	if err := r.Ack(last); err != nil {
		t.Fatal(err)
	}
	kept(t, b, "a", "late")
	if all, _ := texts(t, r, 1); all[0] != "tracks/a late" {
		t.Errorf("read %q", all)
	}
}

// However small the earlier messages were, no more is fetched ahead than there is space for.
func TestReaderTakesLittleAheadThatIsLarge(t *testing.T) {
	b := start(t, nil)
	const small, large, size = 40, 60, 256 << 10
	for i := range small {
		kept(t, b, "a", fmt.Sprint(i))
	}
	for range large {
		kept(t, b, "a", strings.Repeat("x", size))
	}
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a"})
	texts(t, r, 2) // now it knows how long they are
	texts(t, r, 2)
	came, err := b.Delivered(within(t), "uplink/a")
	if most := uint64(small + 1<<20/size + 8); came < small || came > most || err != nil {
		t.Errorf("%d messages were taken, want all %d small ones and %d at most: %v", came, small, most, err)
	}
	for i := 4; i < small+large; i += 4 {
		all, _ := texts(t, r, 4)
		if i < small && all[0] != fmt.Sprint("tracks/a ", i) || i >= small && len(all[0]) < size {
			t.Fatalf("message %d is %.20q", i, all[0])
		}
	}
}

// The largest messages there can be are read without the server closing the connection, however many are asked for.
func TestReaderOfTheLargestMessages(t *testing.T) {
	b := start(t, nil)
	const n, size = 40, 1<<20 - 1<<10
	for range n {
		kept(t, b, "a", strings.Repeat("x", size))
	}
	for _, most := range []int{2, 16} {
		r := openReader(t, b, bus.ReaderConfig{Name: fmt.Sprint("uplink/a-", most)})
		for came := 0; came < n; {
			all, err := r.Next(within(t), most)
			if err != nil {
				t.Fatal(err)
			}
			came += len(all)
		}
	}
	if n := b.SlowConsumers(); n > 0 {
		t.Errorf("the server has closed %d connections", n)
	}
}
