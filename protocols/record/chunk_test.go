package record_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
)

const boot = "0f8fad5b-d9cb-469f-a165-70867728950e"

func value() *rapid.Generator[record.Value] {
	return rapid.OneOf(
		rapid.Just[record.Value](nil),
		rapid.Map(rapid.Bool(), func(v bool) record.Value { return v }),
		rapid.Map(rapid.Int64(), func(v int64) record.Value { return v }),
		rapid.Map(rapid.Uint64(), func(v uint64) record.Value { return v }),
		rapid.Map(rapid.Float64(), func(v float64) record.Value { return v }),
		rapid.Map(rapid.Float32(), func(v float32) record.Value { return float64(v) }),
		rapid.Map(rapid.Int32(), func(v int32) record.Value { return float64(v) }),
		rapid.Map(rapid.String(), func(v string) record.Value { return v }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) record.Value { return append([]byte{}, v...) }),
		rapid.Just[record.Value](math.Copysign(0, -1)), rapid.Just[record.Value](math.Inf(1)),
	)
}

func field() *rapid.Generator[record.Field] {
	return rapid.Custom(func(t *rapid.T) record.Field {
		return record.Field{
			Name: rapid.SampledFrom([]string{"power", "energy", "state", "°C"}).Draw(t, "name"), ID: rapid.Uint32().Draw(t, "id"),
			Unit: rapid.SampledFrom([]string{"", "kW"}).Draw(t, "unit"), Value: value().Draw(t, "value"),
			Quality: rapid.SampledFrom([]string{"", "stale", "bad"}).Draw(t, "quality"), Cause: rapid.SampledFrom([]string{"", "timeout"}).Draw(t, "cause"),
		}
	})
}

func chunk() *rapid.Generator[record.Chunk] {
	return rapid.Custom(func(t *rapid.T) record.Chunk {
		c := record.Chunk{
			Track: "tracks/energy", Number: rapid.Uint32().Draw(t, "number"), First: rapid.Uint64Range(1, 1<<62).Draw(t, "first"),
			Before: rapid.Uint64Range(0, 1<<62).Draw(t, "before"), Boot: boot,
		}
		for range rapid.IntRange(0, 3).Draw(t, "anchors") {
			c.Anchors = append(c.Anchors, record.Anchor{Boot: boot, Start: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "start")).UTC()})
		}
		n := rapid.IntRange(0, 20).Draw(t, "records")
		c.Records = make([]record.Record, 0, n)
		for i := range n {
			r := record.Record{
				Track: c.Track, Number: c.Number, Sequence: c.First + uint64(i), Boot: boot,
				Time:    time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "time")).UTC(),
				Trusted: rapid.Bool().Draw(t, "trusted"), Uptime: time.Duration(rapid.Int64Range(0, 1<<61).Draw(t, "uptime")),
				Absent: rapid.Bool().Draw(t, "absent"), Cause: rapid.SampledFrom([]string{"", "power > 5"}).Draw(t, "why"),
			}
			r.Fields = append(r.Fields, rapid.SliceOfN(field(), 0, 8).Draw(t, "fields")...)
			c.Records = append(c.Records, r)
		}
		c.Count = uint64(n)
		return c
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := chunk().Draw(t, "chunk")
		p, err := record.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.Decode(c.Track, p)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, got) {
			t.Fatalf("wrote %+v\nread  %+v", c, got)
		}
	})
}

// Whichever byte is wrong, no record is changed, and those left out are listed.
func TestFlippedByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := chunk().Draw(t, "chunk")
		p, err := record.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		p[rapid.IntRange(0, len(p)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		got, err := record.Decode(c.Track, p)
		if errors.Is(err, record.ErrChunk) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Damaged) != 1 || len(got.Records) != len(c.Records)-1 {
			t.Fatalf("%d of %d records, %d damaged", len(got.Records), len(c.Records), len(got.Damaged))
		}
		want := slices.DeleteFunc(slices.Clone(c.Records), func(r record.Record) bool { return r.Sequence == got.Damaged[0] })
		if !reflect.DeepEqual(want, got.Records) {
			t.Fatal("another record has changed")
		}
	})
}

func TestTruncated(t *testing.T) {
	c := three(1, true)
	p, err := record.Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(p) {
		got, err := record.Decode(c.Track, p[:n])
		if err == nil && len(got.Damaged) == 0 {
			t.Fatalf("%d of %d bytes are taken for all", n, len(p))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	hole, other, strange, long := three(1, true), three(1, true), three(1, true), record.Chunk{Records: make([]record.Record, record.MaxChunk+1)}
	hole.Records[2].Sequence++
	other.Records[1].Boot = "another"
	strange.Records[0].Fields[0].Value = 5
	for name, c := range map[string]record.Chunk{"hole": hole, "two boots": other, "type": strange, "too many": long} {
		if _, err := record.Encode(&c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// three returns a chunk of three records, a second apart.
func three(first uint64, trusted bool) record.Chunk {
	c := record.Chunk{Track: "tracks/energy", Number: 7, First: first, Count: 3, Boot: boot}
	for i := range 3 {
		up := time.Duration(first)*time.Second + time.Duration(i)*time.Second
		at := time.Unix(0, 0).Add(up).UTC()
		if trusted {
			at = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(up)
		}
		c.Records = append(c.Records, record.Record{
			Track: c.Track, Number: 7, Sequence: first + uint64(i), Time: at, Trusted: trusted, Boot: boot, Uptime: up,
			Fields: []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: 1.5}},
		})
	}
	return c
}

func encoded(t testing.TB, c record.Chunk) []byte {
	t.Helper()
	p, err := record.Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFollow(t *testing.T) {
	var f record.Follow
	take := func(p []byte, want []uint64, gaps ...record.Gap) {
		t.Helper()
		records, found, err := f.Chunk("tracks/energy", p)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, r := range records {
			got = append(got, r.Sequence)
		}
		if !slices.Equal(got, want) || !slices.Equal(found, gaps) {
			t.Fatalf("records %v, gaps %v; want %v, %v", got, found, want, gaps)
		}
	}
	damaged := encoded(t, three(10, true))
	damaged[len(damaged)-1] ^= 1
	take(encoded(t, three(4, true)), []uint64{4, 5, 6}) // it starts anywhere
	take(encoded(t, three(4, true)), nil)               // a repetition
	take(encoded(t, three(6, true)), []uint64{7, 8})    // half of it
	take(damaged, []uint64{10, 11}, record.Gap{Track: "tracks/energy", From: 9, To: 9, Why: record.Missing},
		record.Gap{Track: "tracks/energy", From: 12, To: 12, Why: record.Damaged})
	if _, _, err := f.Chunk("tracks/energy", []byte("garbage")); !errors.Is(err, record.ErrChunk) {
		t.Error(err)
	}
}

// Times from before the clock was right are corrected once a later chunk has the correction.
func TestCorrectedTimes(t *testing.T) {
	early, late := three(1, false), three(4, true)
	want := late.Records[0].Time.Add(-3 * time.Second)
	var f record.Follow
	records, _, err := f.Chunk("tracks/energy", encoded(t, early))
	if err != nil || records[0].Trusted || records[0].Time.Year() != 1970 {
		t.Fatalf("%+v %v", records, err)
	}
	anchored := record.Chunk{Number: 7, First: 7, Boot: "another", Anchors: []record.Anchor{{Boot: boot, Start: want.Add(-time.Second)}}}
	for name, newest := range map[string]record.Chunk{"of the same boot": late, "of a later boot": anchored} {
		f = record.Follow{}
		if err := f.Learn(encoded(t, newest)); err != nil {
			t.Fatal(err)
		}
		records, _, err = f.Chunk("tracks/energy", encoded(t, early))
		if err != nil || !records[0].Trusted || !records[0].Time.Equal(want) {
			t.Errorf("%s: %+v %v, want %s", name, records[0], err, want)
		}
	}
}

func TestMeasure(t *testing.T) {
	old, young := three(5, true), three(100, true)
	young.Before = 1000
	p := encoded(t, young)
	m, err := record.Measure(encoded(t, old), p)
	if err != nil || m.Records != 98 || m.Bytes != 1000+uint64(len(p)) || !m.Oldest.Equal(old.Records[0].Time) {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := record.Measure(p, encoded(t, old)); err == nil {
		t.Error("the wrong way round is accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, three(1, true)))
	f.Add([]byte("GR\x01"))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := record.Decode("tracks/energy", p)
		if err != nil || len(c.Damaged) > 0 {
			return
		}
		again, err := record.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := record.Decode("tracks/energy", again); err != nil || len(back.Records) != len(c.Records) {
			t.Fatalf("%d records, then %d: %v", len(c.Records), len(back.Records), err)
		}
		if !bytes.Equal(p[:3], again[:3]) {
			t.Fatal("another version")
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c := three(1, true)
	for b.Loop() {
		if _, err := record.Encode(&c); err != nil {
			b.Fatal(err)
		}
	}
}
