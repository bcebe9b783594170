package recorder_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/recorder"
)

// world is virtual time: the monotonic clock, and a wall clock that may be stepped.
type world struct {
	uptime time.Duration
	wall   time.Time
}

func newWorld() *world {
	return &world{uptime: time.Hour, wall: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
}

func (w *world) now() recorder.Moment {
	return recorder.Moment{Uptime: w.uptime, Wall: w.wall, Trusted: true}
}

// pass lets time pass, and calls each tick the recorder asks for on time.
func (w *world) pass(r *recorder.Recorder, d time.Duration) (out []record.Record, news []recorder.News) {
	end := w.uptime + d
	for {
		at, ok := r.Next()
		if !ok || at > end {
			break
		}
		w.wall = w.wall.Add(max(0, at-w.uptime))
		w.uptime = max(w.uptime, at)
		o, n := r.Tick(w.now())
		out, news = append(out, o...), append(news, n...)
	}
	w.wall = w.wall.Add(end - w.uptime)
	w.uptime = end
	return out, news
}

func (w *world) take(r *recorder.Recorder, v record.Value) []record.Record {
	out, _ := r.Take(w.now(), []recorder.Value{{Value: v}})
	return out
}

func one(f recorder.Field) recorder.Config {
	f.Name, f.ID = "power", 1
	return recorder.Config{Fields: []recorder.Field{f}}
}

func values(records []record.Record) []record.Value {
	var all []record.Value
	for _, r := range records {
		for _, f := range r.Fields {
			all = append(all, f.Value)
		}
	}
	return all
}

// step is one event of a generated history.
type step struct {
	pass  time.Duration
	value float64
	clock time.Duration // step of the wall clock
}

func history() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		s := step{
			pass:  time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond,
			value: float64(rapid.IntRange(-10, 10).Draw(t, "value")),
		}
		if rapid.IntRange(0, 9).Draw(t, "clock") == 0 {
			s.clock = time.Duration(rapid.SampledFrom([]int{-25, 25, -1, 400_000}).Draw(t, "hours")) * time.Hour
		}
		return s
	}), 1, 60)
}

// play runs a history and returns the records.
func play(cfg recorder.Config, all []step, steps bool) []record.Record {
	w := newWorld()
	r := recorder.New(cfg, w.now())
	var out []record.Record
	for _, s := range all {
		o, _ := w.pass(r, s.pass)
		out = append(out, o...)
		if steps {
			w.wall = w.wall.Add(s.clock)
		}
		out = append(out, w.take(r, s.value)...)
	}
	o, _ := w.pass(r, time.Minute)
	return append(out, o...)
}

// Without a deadband each change is recorded, and nothing else.
func TestOnChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := history().Draw(t, "history")
		var want []record.Value
		for i, s := range all {
			if i == 0 || s.value != all[i-1].value {
				want = append(want, s.value)
			}
		}
		if got := values(play(one(recorder.Field{Policy: recorder.OnChange}), all, true)); !slices.Equal(got, want) {
			t.Fatalf("recorded %v, want %v", got, want)
		}
	})
}

// With a deadband and an interval, records differ by at least that, and the last recorded value is
// the present one.
func TestDeadband(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := history().Draw(t, "history")
		f := recorder.Field{
			Policy: recorder.OnChange, Absolute: rapid.SampledFrom([]float64{0, 1, 3.5}).Draw(t, "absolute"),
			Percent:     rapid.SampledFrom([]float64{0, 10, 50}).Draw(t, "percent"),
			MinInterval: time.Duration(rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "interval")) * time.Second,
		}
		band := func(was float64) float64 { return max(f.Absolute, math.Abs(was)*f.Percent/100) }
		got := play(one(f), all, true)
		for i := 1; i < len(got); i++ {
			was, is := got[i-1].Fields[0].Value.(float64), got[i].Fields[0].Value.(float64)
			if math.Abs(is-was) <= band(was) {
				t.Fatalf("%g after %g is no change", is, was)
			}
			if d := got[i].Uptime - got[i-1].Uptime; d < f.MinInterval {
				t.Fatalf("two changes within %s", d)
			}
		}
		was, is := got[len(got)-1].Fields[0].Value.(float64), all[len(all)-1].value
		if was != is && math.Abs(is-was) > band(was) {
			t.Fatalf("the last record says %g, it is %g", was, is)
		}
	})
}

// A period has one record, and each value counts for one period, whatever the wall clock does.
func TestPeriods(t *testing.T) {
	const period = 10 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		all := history().Draw(t, "history")
		steps := rapid.Bool().Draw(t, "steps")
		by := map[recorder.Resample][]record.Record{}
		for _, how := range []recorder.Resample{recorder.Last, recorder.Sum, recorder.Min, recorder.Mean, recorder.Max, recorder.TimeWeighted} {
			by[how] = play(one(recorder.Field{Policy: recorder.Periodic, Period: period, Resample: how}), all, steps)
		}
		sum, want := 0.0, 0.0
		for _, v := range values(by[recorder.Sum]) {
			sum += v.(float64)
		}
		for _, s := range all {
			want += s.value
		}
		if sum != want {
			t.Fatalf("the sums of all periods are %g, not %g", sum, want)
		}
		for i, m := range values(by[recorder.Mean]) {
			low, high := values(by[recorder.Min])[i].(float64), values(by[recorder.Max])[i].(float64)
			if v := m.(float64); v < low-1e-9 || v > high+1e-9 {
				t.Fatalf("mean %g of %g to %g", v, low, high)
			}
		}
		for _, v := range values(by[recorder.TimeWeighted]) {
			if v := v.(float64); v < -10-1e-9 || v > 10+1e-9 {
				t.Fatalf("time-weighted %g", v)
			}
		}
		for i, r := range by[recorder.Last] {
			if !steps && r.Time.UnixNano()%int64(period) != 0 {
				t.Fatalf("a period ends at %s", r.Time)
			}
			if i > 0 {
				if d := r.Uptime - by[recorder.Last][i-1].Uptime; d < period/2 || d > period*3/2 {
					t.Fatalf("a period of %s", d)
				}
			}
		}
	})
}

// Steps of the wall clock change only times: no record is added, lost or reordered.
func TestSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := history().Draw(t, "history")
		cfg := one(recorder.Field{Policy: recorder.PeriodicOnChange, Period: 3 * time.Second, Absolute: 1, MinInterval: time.Second})
		cfg.Activity = 4 * time.Second
		still, stepped := play(cfg, all, false), play(cfg, all, true)
		if len(still) != len(stepped) {
			t.Fatalf("%d records, with steps %d", len(still), len(stepped))
		}
		for i := range still {
			if still[i].Uptime != stepped[i].Uptime || still[i].Absent != stepped[i].Absent || !slices.Equal(values(still[i:i+1]), values(stepped[i:i+1])) {
				t.Fatalf("record %d: %+v, with steps %+v", i, still[i], stepped[i])
			}
			if i > 0 && stepped[i].Uptime < stepped[i-1].Uptime {
				t.Fatal("out of order")
			}
		}
	})
}

func TestTimeWeighted(t *testing.T) {
	w := newWorld()
	r := recorder.New(one(recorder.Field{Policy: recorder.Periodic, Period: 10 * time.Second, Resample: recorder.TimeWeighted}), w.now())
	w.take(r, 0.0)
	w.pass(r, 9*time.Second)
	w.take(r, 100.0)
	got, _ := w.pass(r, 11*time.Second)
	if v := values(got); len(v) != 2 || v[0] != 10.0 || v[1] != 100.0 {
		t.Errorf("%v, want 10 (a tenth of the time at 100) and 100", v)
	}
}

func TestPeriodicOnChange(t *testing.T) {
	w := newWorld()
	r := recorder.New(one(recorder.Field{Policy: recorder.PeriodicOnChange, Period: time.Minute}), w.now())
	if got, _ := w.pass(r, time.Hour); len(got) != 0 {
		t.Errorf("%d records of nothing", len(got))
	}
	if got := w.take(r, true); len(got) != 1 {
		t.Errorf("the first value has %d records", len(got))
	}
	if got, _ := w.pass(r, 3*time.Minute); len(got) != 3 || got[0].Fields[0].Value != true {
		t.Errorf("three minutes have %+v", got)
	}
}

// A change of quality is a change; bad values are not part of a mean.
func TestQuality(t *testing.T) {
	w := newWorld()
	r := recorder.New(one(recorder.Field{Policy: recorder.OnChange, Absolute: 100}), w.now())
	w.take(r, 5.0)
	out, _ := r.Take(w.now(), []recorder.Value{{Value: 5.0, Quality: "stale", Cause: "timeout"}})
	if len(out) != 1 || out[0].Fields[0].Cause != "timeout" {
		t.Errorf("%+v", out)
	}
	r = recorder.New(one(recorder.Field{Policy: recorder.Periodic, Period: time.Minute, Resample: recorder.Mean}), w.now())
	w.take(r, 4.0)
	_, _ = r.Take(w.now(), []recorder.Value{{Value: 1000.0, Quality: "stale"}})
	if out, _ = w.pass(r, time.Minute); len(out) != 1 || out[0].Fields[0].Value != 4.0 || out[0].Fields[0].Quality != "" {
		t.Errorf("%+v", out)
	}
}

func TestActivity(t *testing.T) {
	w := newWorld()
	cfg := one(recorder.Field{Policy: recorder.OnChange})
	cfg.Activity = time.Minute
	r := recorder.New(cfg, w.now())
	out, news := w.pass(r, time.Hour)
	if len(out) != 1 || !out[0].Absent || !slices.Equal(news, []recorder.News{recorder.Silent}) {
		t.Fatalf("%+v %v", out, news)
	}
	if out, news = r.Take(w.now(), []recorder.Value{{Value: 1.0}}); len(out) != 1 || !slices.Equal(news, []recorder.News{recorder.Heard}) {
		t.Errorf("%+v %v", out, news)
	}
}

// A stale value comes from the actor of a silent device, so it does not count as activity.
func TestAStaleValueIsNoSignOfLife(t *testing.T) {
	w := newWorld()
	cfg := one(recorder.Field{Policy: recorder.OnChange})
	cfg.Activity = time.Minute
	r := recorder.New(cfg, w.now())
	w.take(r, 1.0)
	var all []recorder.News
	for range 9 {
		_, news := w.pass(r, 10*time.Second)
		_, more := r.Take(w.now(), []recorder.Value{{Value: 1.0, Quality: "stale", Cause: "timeout"}})
		all = append(append(all, news...), more...)
	}
	if !slices.Equal(all, []recorder.News{recorder.Silent}) {
		t.Errorf("%v", all)
	}
	if _, news := r.Take(w.now(), []recorder.Value{{Quality: "bad"}}); !slices.Equal(news, []recorder.News{recorder.Heard}) {
		t.Errorf("%v", news)
	}
}

func TestManual(t *testing.T) {
	w := newWorld()
	r := recorder.New(one(recorder.Field{Policy: recorder.Manual}), w.now())
	if out := w.take(r, 1.0); len(out) != 0 {
		t.Errorf("%+v", out)
	}
	if out := r.Record(w.now(), "asked"); len(out) != 1 || out[0].Fields[0].Value != 1.0 || out[0].Cause != "asked" {
		t.Errorf("%+v", out)
	}
}

func over(limit float64) func(func(string) (record.Value, bool)) (bool, bool) {
	return func(value func(string) (record.Value, bool)) (bool, bool) {
		v, ok := value("power")
		f, number := v.(float64)
		return f > limit, ok && number
	}
}

// Around an event everything not older than the history is recorded, once and in order.
func TestTrigger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := one(recorder.Field{Policy: recorder.OnChange})
		before := time.Duration(rapid.IntRange(0, 20).Draw(t, "before")) * time.Second
		cfg.Trigger = &recorder.Trigger{Start: over(100), Before: before, Cause: "power > 100"}
		w := newWorld()
		r := recorder.New(cfg, w.now())
		var want []record.Value
		for i := range rapid.IntRange(1, 40).Draw(t, "quiet") {
			if out := w.take(r, float64(i)); len(out) != 0 {
				t.Fatal("recorded without an event")
			}
			want = append(want, float64(i))
			w.pass(r, time.Second)
		}
		keep := int(before / time.Second)
		want = want[max(0, len(want)-keep):]
		out, news := r.Take(w.now(), []recorder.Value{{Value: 500.0}})
		if want = append(want, 500.0); !slices.Equal(values(out), want) || !slices.Equal(news, []recorder.News{recorder.Triggered}) {
			t.Fatalf("recorded %v, want %v; %v", values(out), want, news)
		}
		if out[len(out)-1].Cause != "power > 100" {
			t.Fatal("the event has no cause")
		}
		if _, news = r.Take(w.now(), []recorder.Value{{Value: 5.0}}); !slices.Equal(news, []recorder.News{recorder.Released}) {
			t.Fatalf("after the event: %v", news)
		}
		if out = w.take(r, 6.0); len(out) != 0 {
			t.Fatal("it goes on")
		}
	})
}

func TestBurst(t *testing.T) {
	cfg := one(recorder.Field{Policy: recorder.Manual})
	cfg.Trigger = &recorder.Trigger{Start: over(100), Before: 2 * time.Second, Burst: 10 * time.Second}
	w := newWorld()
	r := recorder.New(cfg, w.now())
	n := 0
	for range 30 {
		n += len(w.take(r, 500.0)) // it stays over the limit: one burst
		out, _ := w.pass(r, time.Second)
		n += len(out)
	}
	if n != 10 {
		t.Errorf("a burst of %d records, want 10", n)
	}
	w.take(r, 1.0)
	w.pass(r, time.Second)
	// Two of the history that are not too old, and the event.
	if out := w.take(r, 500.0); len(out) != 3 {
		t.Errorf("%d records with the next event: %v", len(out), values(out))
	}
}

func TestAfter(t *testing.T) {
	cfg := one(recorder.Field{Policy: recorder.OnChange})
	cfg.Trigger = &recorder.Trigger{Start: over(100), After: 5 * time.Second}
	w := newWorld()
	r := recorder.New(cfg, w.now())
	w.take(r, 500.0)
	w.take(r, 1.0)
	w.pass(r, 4*time.Second)
	if out := w.take(r, 2.0); len(out) != 1 {
		t.Errorf("%d records in the time after", len(out))
	}
	if _, news := w.pass(r, 2*time.Second); !slices.Equal(news, []recorder.News{recorder.Released}) {
		t.Errorf("%v", news)
	}
	if out := w.take(r, 3.0); len(out) != 0 {
		t.Errorf("%d records after it", len(out))
	}
}

func TestAdd(t *testing.T) {
	w := newWorld()
	r := recorder.New(recorder.Config{}, w.now())
	i := r.Add(recorder.Field{Name: "late", ID: 5, Policy: recorder.OnChange}, w.now())
	out, _ := r.Take(w.now(), []recorder.Value{{Field: i, Value: "x"}})
	if len(out) != 1 || out[0].Fields[0].Name != "late" || out[0].Fields[0].ID != 5 {
		t.Errorf("%+v", out)
	}
}

// Each overdue period has its record, with the values at its end; if there are very many, only the
// last.
func TestLatePeriods(t *testing.T) {
	w := newWorld()
	begin := w.now()
	r := recorder.New(one(recorder.Field{Policy: recorder.Periodic, Period: 10 * time.Second}), begin)
	w.take(r, 1.0)
	at := begin
	at.Uptime, at.Wall = at.Uptime+35*time.Second, at.Wall.Add(35*time.Second)
	out, _ := r.Take(at, []recorder.Value{{Value: 2.0}})
	at.Uptime, at.Wall = at.Uptime+20*time.Second, at.Wall.Add(20*time.Second)
	late, _ := r.Tick(at)
	if got := values(append(out, late...)); !slices.Equal(got, []record.Value{1.0, 1.0, 1.0, 2.0, 2.0}) {
		t.Errorf("%v", got)
	}
	for i, one := range append(out, late...) {
		if one.Time.Sub(begin.Wall.Truncate(10*time.Second)) != time.Duration(i+1)*10*time.Second {
			t.Errorf("record %d is of %s", i, one.Time)
		}
	}
	at.Uptime, at.Wall = at.Uptime+1000*time.Hour, at.Wall.Add(1000*time.Hour)
	if late, _ = r.Tick(at); len(late) > 2 {
		t.Errorf("%d records of a long time", len(late))
	}
}
