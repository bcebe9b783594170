package mdi

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// numbers generates typical values of meters, and unexpected ones.
var numbers = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) any {
		return float64(rapid.IntRange(-100000, 100000).Draw(t, "m")) / math.Pow10(rapid.IntRange(0, 5).Draw(t, "decimals"))
	}),
	rapid.Custom(func(t *rapid.T) any { return float64(rapid.Float32().Draw(t, "single")) }),
	rapid.Custom(func(t *rapid.T) any { return rapid.Float64().Draw(t, "double") }),
	rapid.Custom(func(t *rapid.T) any { return rapid.Int64().Draw(t, "signed") }),
	rapid.Custom(func(t *rapid.T) any { return rapid.Int64Range(-300, 300).Draw(t, "small") }),
	rapid.Custom(func(t *rapid.T) any { return rapid.Uint64().Draw(t, "unsigned") }),
	rapid.SampledFrom([]any{
		nil, true, false, "", "on", "Grüße", []byte{}, []byte{0, 255}, math.Inf(1), math.NaN(), math.Copysign(0, -1), 0.0, 1e300, 5e-324,
		int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64), uint64(1 << 63), 0.1 + 0.2, 1e16, 123456789012345.0,
	}),
)

var fields = rapid.Custom(func(t *rapid.T) record.Field {
	id := rapid.OneOf(rapid.Uint32Range(1, 6), rapid.Uint32Range(0, maxFieldID)).Draw(t, "id")
	f := record.Field{Name: fmt.Sprint("field-", id), ID: id, Unit: []string{"", "kW"}[id%2], Value: numbers.Draw(t, "value")}
	if rapid.IntRange(0, 4).Draw(t, "quality") == 0 {
		f.Quality = rapid.SampledFrom([]string{"stale", "bad", "estimated", ""}).Draw(t, "word")
		f.Cause = rapid.SampledFrom([]string{"", "timeout", "exception 2"}).Draw(t, "cause")
	}
	return f
})

// recordings generates the records of some tracks, in order.
var recordings = rapid.Custom(func(t *rapid.T) []record.Record {
	var all []record.Record
	sequence := map[uint32]uint64{}
	now := epoch.Add(rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(-60_000_000, 1_000_000_000).Draw(t, "start")) * time.Second
	}).Draw(t, "start"))
	up, boot, trusted := time.Hour, 1, true
	for range rapid.IntRange(1, 40).Draw(t, "records") {
		number := rapid.SampledFrom([]uint32{1, 2, math.MaxUint32}).Draw(t, "track")
		sequence[number] += rapid.SampledFrom([]uint64{1, 1, 1, 1, 2, 70_000, 1 << 40}).Draw(t, "gap")
		step := time.Duration(rapid.SampledFrom([]int64{0, 1000, 1000, 1000, 1003, 60_000, 86_400_000, 40 * 86_400_000}).Draw(t, "step")) * time.Millisecond
		now, up = now.Add(step), up+step
		switch rapid.IntRange(0, 15).Draw(t, "event") {
		case 0:
			now = now.Add(time.Duration(rapid.Int64Range(-1e6, 1e6).Draw(t, "clock")) * time.Second)
		case 1:
			boot, up = boot+1, 0
		case 2:
			trusted = !trusted
		}
		r := record.Record{
			Track: fmt.Sprint("tracks/", number), Number: number, Sequence: sequence[number], Time: now, Trusted: trusted,
			Boot: fmt.Sprint("boot-", boot), Uptime: up, Cause: rapid.SampledFrom([]string{"", "", "", "trigger"}).Draw(t, "cause"),
		}
		if rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			r.Absent = true
		} else {
			r.Fields = rapid.SliceOfNDistinct(fields, 0, 8, func(f record.Field) uint32 { return f.ID }).Draw(t, "fields")
		}
		all = append(all, r)
	}
	return all
})

// names returns the names in all records, as messages.
func names(all []record.Record) (Names, func(string) uint8) {
	var n Names
	boots := map[string]uint8{}
	for _, r := range all {
		m := &Track{Number: r.Number, Name: r.Track}
		for _, f := range r.Fields {
			m.Fields = append(m.Fields, Field{ID: uint16(f.ID), Name: f.Name, Unit: f.Unit})
		}
		_ = n.Track(m)
		if _, known := boots[r.Boot]; !known {
			boots[r.Boot] = uint8(len(boots))
			n.Boot(&Boot{Index: boots[r.Boot], ID: r.Boot})
		}
	}
	return n, func(id string) uint8 { return boots[id] }
}

// canonical returns a record in a form for comparison: fields by number, and what Go cannot compare
// as text.
func canonical(r record.Record) string {
	fs := slices.Clone(r.Fields)
	slices.SortFunc(fs, func(a, b record.Field) int { return int(a.ID) - int(b.ID) })
	text := fmt.Sprintf("%s/%d #%d %s %v %s %s absent=%v %q", r.Track, r.Number, r.Sequence, r.Time.UTC().Format(time.RFC3339Nano), r.Trusted, r.Boot, r.Uptime, r.Absent, r.Cause)
	for _, f := range fs {
		v := fmt.Sprintf("%T %v", f.Value, f.Value)
		if x, ok := f.Value.(float64); ok {
			v = fmt.Sprintf("float %x", math.Float64bits(x))
		}
		text += fmt.Sprintf("\n  %d %s %q %s %q %q", f.ID, f.Name, f.Unit, v, f.Quality, f.Cause)
	}
	return text
}

// ofTrack returns the records of one track.
func ofTrack(all []record.Record, number uint32) []string {
	var some []string
	for _, r := range all {
		if r.Number == number {
			some = append(some, canonical(r))
		}
	}
	return some
}

func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := recordings.Draw(t, "records")
		n, boot := names(all)
		b, err := Encode(Pack(all, boot))
		if err != nil {
			t.Fatal(err)
		}
		m, skipped, err := decode(b)
		if err != nil || skipped {
			t.Fatal(err, skipped)
		}
		got, err := n.Unpack(m.(*Batch))
		if err != nil {
			t.Fatal(err)
		}
		for _, number := range []uint32{1, 2, math.MaxUint32} {
			if a, b := ofTrack(all, number), ofTrack(got, number); !slices.Equal(a, b) {
				t.Fatalf("track %d was\n%v\nis\n%v", number, a, b)
			}
		}
	})
}

// Typical meter values are sent exactly and in few bits.
func TestNumbersAreShort(t *testing.T) {
	for _, c := range []struct {
		values []any
		form   Form
		scale  int8
	}{
		{[]any{230.1, 230.0, 229.95}, Decimal, -2},
		{[]any{float64(float32(230.1)), float64(float32(49.98))}, Single, -2},
		{[]any{float64(float32(230.5)), float64(float32(49.25))}, Decimal, -2},
		{[]any{1000.0, 2000.0}, Decimal, 3},
		{[]any{int64(5), int64(-5)}, Signed, 0},
		{[]any{uint64(5), uint64(1 << 63)}, Unsigned, 0},
		{[]any{math.NaN(), math.Pi, 1e-300}, Other, 0},
		{[]any{true, "x", nil}, Other, 0},
	} {
		if f, s := formOf(c.values); f != c.form || s != c.scale {
			t.Errorf("%v: form %d, scale %d", c.values, f, s)
		}
	}
}

// Fields whose numbers are hashes of names get small numbers in a session, each its own, even if
// two hashes are equal.
func TestFieldNumbers(t *testing.T) {
	var n fieldNumbers
	r := record.Record{Track: "tracks/a", Fields: []record.Field{{Name: "a", ID: 1}, {Name: "b", ID: 1 << 31}, {Name: "c", ID: 1 << 31}, {Name: "d", ID: maxFieldID}}}
	var got []uint32
	for _, f := range n.of(r) {
		got = append(got, f.ID)
	}
	if want := []uint32{1, maxFieldID, maxFieldID - 1, maxFieldID - 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r.Fields[1].ID != 1<<31 {
		t.Error("the record itself was changed")
	}
	r.Fields = r.Fields[2:]
	if again := n.of(r); again[0].ID != maxFieldID-1 || fits(record.Record{Fields: again}) != nil {
		t.Errorf("%v", again)
	}
}

// A receiver that recalls what a former life has stored piece by piece knows exactly the same.
func TestRecall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewReceiver(ReceiverConfig{})
		g := &gateway{seen: map[string]*seenTrack{}}
		r.gateways["site"] = g
		var notes []Seen
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			one := record.Record{
				Track: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "track"), Boot: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "boot"),
				Sequence: rapid.Uint64Range(1, 40).Draw(t, "sequence"), Uptime: time.Duration(rapid.IntRange(0, 100).Draw(t, "uptime")) * time.Second,
			}
			known, again := g.knows(one)
			if !known {
				g.note(one)
				notes = seenToo(notes, "site", one, again)
			}
		}
		other := NewReceiver(ReceiverConfig{})
		other.Recall(notes)
		snapshot := NewReceiver(ReceiverConfig{})
		snapshot.Recall(r.Seen())
		if want := r.Seen(); !slices.Equal(other.Seen(), want) || !slices.Equal(snapshot.Seen(), want) {
			t.Fatalf("%v\nnoted %v\nrecalled %v\nsnapshot %v", want, notes, other.Seen(), snapshot.Seen())
		}
	})
}
