package line

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

func TestFate(t *testing.T) {
	a, b := &station{}, &station{}
	first := &burst{from: a, start: 0, char: ms, data: make([]byte, 10)}            // on the wire from 0 to 10 ms
	second := &burst{from: b, start: 4500 * 1000, char: ms, data: make([]byte, 10)} // on the wire from 4.5 to 14.5 ms
	tie := &burst{from: b, start: 0, char: ms, data: make([]byte, 2)}
	for _, c := range []struct {
		name string
		b    *burst
		i    int
		all  []*burst
		want fate
	}{
		{"alone", first, 3, []*burst{first}, clean},
		{"before the other", first, 3, []*burst{first, second}, clean},
		{"half met", first, 4, []*burst{first, second}, garbled},
		{"met", first, 9, []*burst{first, second}, garbled},
		{"later talker", second, 0, []*burst{first, second}, swallowed},
		{"later talker, last met", second, 5, []*burst{first, second}, swallowed},
		{"later talker alone", second, 6, []*burst{first, second}, clean},
		{"tie, first", first, 0, []*burst{first, tie}, garbled},
		{"tie, second", tie, 0, []*burst{first, tie}, swallowed},
		{"own next burst", first, 9, []*burst{first, {from: a, start: 9 * ms, char: ms, data: make([]byte, 3)}}, clean},
	} {
		if got := fateOf(c.b, c.i, c.all); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A receiver sees one stream of characters: at any time at most one byte that is not swallowed.
func TestNoTwoBytesAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*burst
		for range rapid.IntRange(1, 5).Draw(t, "talkers") {
			all = append(all, &burst{
				from:  &station{},
				start: time.Duration(rapid.IntRange(0, 30).Draw(t, "start")) * ms / 2,
				char:  ms,
				data:  make([]byte, rapid.IntRange(1, 10).Draw(t, "length")),
			})
		}
		var heard [][2]time.Duration
		for _, b := range all {
			for i := range b.data {
				f := fateOf(b, i, all)
				met := slices.ContainsFunc(all, func(o *burst) bool { return o != b && o.overlaps(b.at(i), b.at(i+1)) })
				if (f == clean) == met {
					t.Fatalf("byte %d: fate %v, met %v", i, f, met)
				}
				if f != swallowed {
					heard = append(heard, [2]time.Duration{b.at(i), b.at(i + 1)})
				}
			}
		}
		for i, x := range heard {
			for _, y := range heard[:i] {
				if x[0] < y[1] && y[0] < x[1] {
					t.Fatalf("heard at once: %v and %v", x, y)
				}
			}
		}
	})
}

func TestUnfinishedKeepsWhatCanStillMeet(t *testing.T) {
	a, b := &station{}, &station{}
	old := &burst{from: a, start: 0, char: ms, data: make([]byte, 2), heard: 2}
	met := &burst{from: a, start: 2 * ms, char: ms, data: make([]byte, 4), heard: 4}
	now := &burst{from: b, start: 3 * ms, char: ms, data: make([]byte, 9), heard: 1}
	if got := unfinished([]*burst{old, met, now}); !slices.Equal(got, []*burst{met, now}) {
		t.Errorf("kept %d", len(got))
	}
	now.heard = 9
	if got := unfinished([]*burst{met, now}); len(got) != 0 {
		t.Errorf("kept %d of a quiet wire", len(got))
	}
}

func TestFramer(t *testing.T) {
	f := framer{silence: 4 * ms}
	if f.complete(time.Hour) {
		t.Error("nothing is complete")
	}
	if _, ok := f.add(span{[]byte("ab"), 0, 2 * ms}); ok {
		t.Error("first span ends a frame")
	}
	if _, ok := f.add(span{[]byte("c"), 5 * ms, 6 * ms}); ok {
		t.Error("a short pause ends a frame")
	}
	if f.complete(9*ms) || !f.complete(10*ms) {
		t.Error("complete before or not after the silence")
	}
	s, ok := f.add(span{[]byte("d"), 10 * ms, 11 * ms})
	if !ok || string(s.data) != "abc" || s.start != 0 || s.end != 6*ms {
		t.Errorf("%+v, %v", s, ok)
	}
	if s := f.take(); string(s.data) != "d" || s.start != 10*ms || f.complete(time.Hour) {
		t.Errorf("%+v", s)
	}
}

// The frames, which are the bytes between silences, do not depend on how the bytes are cut into
// spans.
func TestFramesDoNotDependOnSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const silence = 4 * ms
		f := framer{silence: silence}
		var want, got [][]byte
		at := time.Duration(0)
		for i := range rapid.IntRange(1, 30).Draw(t, "spans") {
			pause := time.Duration(rapid.IntRange(0, 8).Draw(t, "pause")) * ms
			data := rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "data")
			if i == 0 || pause >= silence {
				want = append(want, nil)
			}
			want[len(want)-1] = append(want[len(want)-1], data...)
			at += pause
			end := at + time.Duration(len(data))*ms
			if s, ok := f.add(span{data, at, end}); ok {
				got = append(got, s.data)
			}
			at = end
		}
		got = append(got, f.take().data)
		if !slices.EqualFunc(got, want, slices.Equal[[]byte]) {
			t.Fatalf("frames %x, want %x", got, want)
		}
	})
}

func TestAgendaIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a agenda
		type done struct {
			due   time.Duration
			order int
		}
		var got []done
		for i, due := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 50).Draw(t, "due") {
			a.put(time.Duration(due), func() { got = append(got, done{time.Duration(due), i}) })
		}
		n := len(a.entries)
		for now := time.Duration(0); now < 10; now++ {
			for do, ok := a.take(now); ok; do, ok = a.take(now) {
				do()
				if got[len(got)-1].due > now {
					t.Fatal("too early")
				}
			}
		}
		if len(got) != n || !slices.IsSortedFunc(got, func(x, y done) int {
			if x.due != y.due {
				return int(x.due - y.due)
			}
			return x.order - y.order
		}) {
			t.Fatalf("%d of %d done: %v", len(got), n, got)
		}
	})
}

func TestOptions(t *testing.T) {
	good := Options{Dir: t.TempDir(), Name: "x"}
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"no directory", func(o *Options) { o.Dir = "" }},
		{"no name", func(o *Options) { o.Name = "" }},
		{"name with a slash", func(o *Options) { o.Name = "a/b" }},
		{"bits", func(o *Options) { o.BitsPerChar = 13 }},
		{"baud", func(o *Options) { o.Baud = -1 }},
		{"loss", func(o *Options) { o.Loss = 1.1 }},
		{"absent directory", func(o *Options) { o.Dir += "/absent" }},
	} {
		o := good
		c.change(&o)
		if l, err := New(o); err == nil {
			l.Close()
			t.Errorf("%s was taken", c.name)
		}
	}
	for _, c := range []struct {
		o    Options
		left int
		char time.Duration
		want int
	}{
		{Options{}, 100, 1146 * time.Microsecond, 3},
		{Options{}, 100, 95 * time.Microsecond, 42},
		{Options{}, 100, 9 * ms, 1},
		{Options{}, 2, ms, 2},
		{Options{}, 100, 0, 100},
		{Options{FIFO: 8}, 100, ms, 8},
	} {
		if got := c.o.portionOf(c.left, c.char); got != c.want {
			t.Errorf("%d of %d at %v", got, c.left, c.char)
		}
	}
}
