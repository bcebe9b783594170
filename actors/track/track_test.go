package track_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/track"
	"gatewayd/bus"
	"gatewayd/protocols/clock"
	"gatewayd/protocols/record"
	samplev1 "gatewayd/schemas/sample/v1"
	trackv1 "gatewayd/schemas/track/v1"
)

const path = "tracks/energy"

func TestConforms(t *testing.T) {
	actorstest.Conform(t, track.Kind, &trackv1.Track{Number: 1, Fields: []*trackv1.Field{{From: "field/+/power"}}})
}

// power is a track of one point.
func power() *trackv1.Track {
	return &trackv1.Track{Number: 7, Flush: durationpb.New(10 * time.Millisecond), Fields: []*trackv1.Field{{From: "field/meter/power", Unit: "kW"}}}
}

// publish publishes readings as a unit does.
func publish(t testing.TB, r *actorstest.Rig, actor string, at time.Time, values map[string]float64) {
	t.Helper()
	m := &samplev1.Samples{Time: timestamppb.New(at)}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range values {
			if !yield(name) {
				return
			}
		}
	}) {
		m.Samples = append(m.Samples, &samplev1.Sample{Point: name, Value: &samplev1.Sample_Number{Number: values[name]}})
	}
	if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.Data, actor, "points"), m); err != nil {
		t.Fatal(err)
	}
}

// reader reads the records of all tracks.
type reader struct {
	t      testing.TB
	place  *bus.Reader
	follow record.Follow
	left   []record.Record
	gaps   []record.Gap
	last   uint64 // store sequence of the last message
}

func read(t testing.TB, r *actorstest.Rig) *reader {
	t.Helper()
	place, err := r.Bus.Reader(t.Context(), bus.ReaderConfig{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return &reader{t: t, place: place}
}

// next returns the next record.
func (r *reader) next() record.Record {
	r.t.Helper()
	for len(r.left) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
		all, err := r.place.Next(ctx, 100)
		cancel()
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range all {
			records, gaps, err := r.follow.Chunk(m.Path, m.Data)
			if err != nil {
				r.t.Fatal(err)
			}
			r.left, r.gaps, r.last = append(r.left, records...), append(r.gaps, gaps...), m.Seq
		}
	}
	one := r.left[0]
	r.left = r.left[1:]
	return one
}

func TestRecords(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, track.Kind, power())
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	now := time.Now().UTC().Truncate(time.Millisecond)
	publish(t, r, "field/meter", now, map[string]float64{"power": 1.5, "other": 3})
	one := all.next()
	if one.Track != path || one.Number != 7 || one.Sequence != 1 || !one.Time.Equal(now) || !one.Trusted || one.Boot != clock.Boot() || one.Uptime <= 0 {
		t.Errorf("%+v", one)
	}
	if f := one.Fields; len(f) != 1 || f[0].Name != "power" || f[0].ID != 1 || f[0].Unit != "kW" || f[0].Value != 1.5 {
		t.Errorf("%+v", f)
	}
	answer, err := actorstest.Call(r, path, "Record", &trackv1.RecordRequest{Cause: "by hand"}, &trackv1.RecordResponse{})
	if err != nil || answer.Sequence != 2 {
		t.Fatalf("%v %v", answer, err)
	}
	if one = all.next(); one.Sequence != 2 || one.Cause != "by hand" || one.Fields[0].Value != 1.5 {
		t.Errorf("%+v", one)
	}

	// The next life continues the sequence, and records waiting at the end of a life are written.
	publish(t, r, "field/meter", now, map[string]float64{"power": 2})
	if one = all.next(); one.Sequence != 3 {
		t.Errorf("%+v", one)
	}
	r.Stop(cell)
	r.Spawn(cell)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	if answer, err = actorstest.Call(r, path, "Record", &trackv1.RecordRequest{}, answer); err != nil || answer.Sequence != 4 {
		t.Errorf("%v %v", answer, err)
	}
	if len(all.gaps) > 0 {
		t.Errorf("gaps: %v", all.gaps)
	}
}

// Wildcards are bound to the points that appear; field numbers stay the same.
func TestWildcards(t *testing.T) {
	r := actorstest.New(t)
	cfg := power()
	cfg.Fields = []*trackv1.Field{{From: "field/+/power"}, {From: "plant/+/+/level", Name: "level"}, {From: "field/pump/+"}}
	cell := r.Start(path, track.Kind, cfg)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	now := time.Now()
	publish(t, r, "field/a", now, map[string]float64{"power": 1, "energy": 2})
	publish(t, r, "field/b", now, map[string]float64{"power": 3})
	// The first point of a name keeps it.
	publish(t, r, "plant/x/tank", now, map[string]float64{"level": 4})
	publish(t, r, "plant/y/tank", now, map[string]float64{"level": 5})
	publish(t, r, "field/pump", now, map[string]float64{"speed": 6})
	ids := map[uint32]bool{}
	var got []string
	for range 5 {
		f := all.next().Fields
		if len(f) != 1 || f[0].ID < 1<<31 || ids[f[0].ID] {
			t.Fatalf("%+v", f)
		}
		ids[f[0].ID] = true
		got = append(got, fmt.Sprint(f[0].Name, " ", f[0].Value))
	}
	slices.Sort(got) // the filters are delivered independently
	if want := []string{"a.power 1", "b.power 3", "level.tank 4", "plant.y.tank.level 5", "speed 6"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// An event records all fields, and records are published to those who listen.
func TestRecordOnEvent(t *testing.T) {
	r := actorstest.New(t)
	cfg := power()
	cfg.Fields[0].Policy = "manual"
	cfg.RecordOn = []string{"field/+/opened"}
	shown := actorstest.Watch(r, "trace/"+path+"/records", &trackv1.Record{})
	cell := r.Start(path, track.Kind, cfg)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	publish(t, r, "field/meter", time.Now(), map[string]float64{"power": 8})
	if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.Event, "field/door", "opened"), &samplev1.Sample{}); err != nil {
		t.Fatal(err)
	}
	one := actorstest.Next(t, shown)
	if one.Cause != "event/field/door/opened" || len(one.Fields) > 1 {
		t.Errorf("%v", one)
	}
}

// failing is a store that can be made to accept nothing.
type failing struct {
	*bus.Conn
	down atomic.Bool
}

func (f *failing) Keep(subject, typ string, payload []byte, p bus.Priority, done func(uint64, error)) {
	if f.down.Load() {
		done(0, errors.New("the disk is full"))
		return
	}
	f.Conn.Keep(subject, typ, payload, p, done)
}

// While the disk accepts nothing, records wait in memory, the oldest are dropped, and the loss is
// reported by sequence.
func TestStoreFails(t *testing.T) {
	store := &failing{}
	r := actorstest.NewOver(t, func(b *bus.Conn) actors.Bus {
		store.Conn = b
		return store
	})
	cfg := power()
	cfg.Memory = 16384
	cfg.Fields[0].From = "field/meter/+"
	dropped := actorstest.Watch(r, "event/"+path+"/dropped", &trackv1.Dropped{})
	trouble := actorstest.Watch(r, "event/"+path+"/trouble", &trackv1.Trouble{})
	recovered := actorstest.Watch(r, "event/"+path+"/recovered", &trackv1.Recovered{})
	cell := r.Start(path, track.Kind, cfg)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	publish(t, r, "field/meter", time.Now(), map[string]float64{"power": -1})
	all.next()
	store.down.Store(true)
	const n = 500
	for i := range n {
		publish(t, r, "field/meter", time.Now(), map[string]float64{"power": float64(i)})
		if i == 0 {
			if m := actorstest.Next(t, trouble); !strings.Contains(m.Why, "the disk is full") {
				t.Errorf("%v", m)
			}
		}
	}
	r.Until("all are heard", func() bool { return cell.Counters().Handled >= n })
	if cell.State() != actors.Degraded {
		t.Errorf("it is %s", cell.State())
	}
	store.down.Store(false)
	if m := actorstest.Next(t, recovered); !strings.Contains(m.Why, "the disk is full") {
		t.Errorf("%v", m)
	}
	gone := actorstest.Next(t, dropped)
	var got []uint64
	for len(got) == 0 || got[len(got)-1] != n+1 {
		got = append(got, all.next().Sequence)
	}
	if gone.To-gone.From+1 != gone.Records || uint64(len(got))+gone.Records != n {
		t.Errorf("%d came, %v dropped, of %d", len(got), gone, n)
	}
	if len(all.gaps) != 1 || all.gaps[0].From != gone.From || all.gaps[0].To != gone.To {
		t.Errorf("a reader finds %v missing, told was %v", all.gaps, gone)
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
}

// wound is a clock that a test sets.
type wound struct {
	mu sync.Mutex
	at clock.Reading
}

func (w *wound) read() clock.Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at.Uptime += time.Millisecond
	w.at.Wall = w.at.Wall.Add(time.Millisecond)
	return w.at
}

func (w *wound) step(to time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at.Wall = to
}

// A clock that begins in 1970, becomes right and then jumps a day either way loses, doubles and
// reorders nothing. Records from before it was right have the right time in the end.
func TestClock(t *testing.T) {
	w := &wound{at: clock.Reading{Wall: time.Unix(5, 0).UTC(), Uptime: 5 * time.Second}}
	kind := track.Define(w.read)
	r := actorstest.New(t)
	corrected := actorstest.Watch(r, "event/"+path+"/corrected", &trackv1.Corrected{})
	cell := r.Start(path, kind, power())
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	value := 0.0
	say := func(n int) {
		for range n {
			value++
			publish(t, r, "field/meter", w.read().Wall, map[string]float64{"power": value})
		}
	}
	say(20)
	for want := uint64(1); want <= 20; want++ {
		if one := all.next(); one.Sequence != want || one.Trusted || one.Time.Year() != 1970 {
			t.Fatalf("before the clock is right: %+v", one)
		}
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w.step(now)
	say(20)
	start := actorstest.Next(t, corrected).Start.AsTime()
	w.step(now.Add(25 * time.Hour))
	say(20)
	w.step(now)
	say(20)
	for want := uint64(21); want <= 80; want++ {
		if one := all.next(); one.Sequence != want || !one.Trusted || one.Fields[0].Value != float64(want) {
			t.Fatalf("after it: %+v, want %d", one, want)
		}
	}
	if len(all.gaps) > 0 {
		t.Errorf("gaps: %v", all.gaps)
	}

	// A later reader knows the correction.
	state, err := r.Bus.Track(t.Context(), bus.Subject(actorstest.Gateway, bus.Track, path, "records"))
	if err != nil {
		t.Fatal(err)
	}
	var follow record.Follow
	if err := follow.Learn(state.Newest.Data); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = r.Bus.Stored(t.Context(), bus.Subject(actorstest.Gateway, bus.Track, path, "records"), 1, func(m bus.Stored) error {
		records, _, err := follow.Chunk(path, m.Data)
		for _, one := range records {
			if n++; n <= 20 && (!one.Trusted || !one.Time.Equal(start.Add(one.Uptime))) {
				t.Errorf("record %d is of %s, trusted %v", one.Sequence, one.Time, one.Trusted)
			}
		}
		return err
	})
	if err != nil || n != 80 {
		t.Errorf("%d records: %v", n, err)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(cfg *trackv1.Track)
		says  string
	}{
		"good":               {func(*trackv1.Track) {}, ""},
		"no point":           {func(cfg *trackv1.Track) { cfg.Fields[0].From = "power" }, "is not a point of an actor"},
		"upper case":         {func(cfg *trackv1.Track) { cfg.Fields[0].From = "Field/meter/power" }, "is not an actor"},
		"half a wildcard":    {func(cfg *trackv1.Track) { cfg.Fields[0].From = "field/meter/pow+" }, "a whole token"},
		"number of many":     {func(cfg *trackv1.Track) { cfg.Fields[0].From, cfg.Fields[0].Id = "field/+/power", 3 }, "cannot share one number"},
		"two of a name":      {func(cfg *trackv1.Track) { cfg.Fields = append(cfg.Fields, &trackv1.Field{From: "field/x/power"}) }, "the name of another field"},
		"two of a number":    {func(cfg *trackv1.Track) { cfg.Fields = append(cfg.Fields, &trackv1.Field{From: "field/x/y", Id: 1}) }, "the number of another"},
		"event":              {func(cfg *trackv1.Track) { cfg.RecordOn = []string{"field//x"} }, "is not a topic"},
		"trigger":            {func(cfg *trackv1.Track) { cfg.Trigger = &trackv1.Trigger{Start: "power >"} }, "is not a valid expression"},
		"trigger of numbers": {func(cfg *trackv1.Track) { cfg.Trigger = &trackv1.Trigger{Start: "power + 1"} }, "neither true nor false"},
		"trigger of flags": {func(cfg *trackv1.Track) {
			cfg.Fields = append(cfg.Fields, &trackv1.Field{From: "field/meter/running"}, &trackv1.Field{From: "field/meter/open"})
			cfg.Trigger = &trackv1.Trigger{Start: "running && power > 1 || !open"}
		}, ""},
		"trigger of nothing": {func(cfg *trackv1.Track) { cfg.Trigger = &trackv1.Trigger{Start: "pwer > 1"} }, `unknown field "pwer", did you mean "power"?`},
		"end of nothing":     {func(cfg *trackv1.Track) { cfg.Trigger = &trackv1.Trigger{Start: "power > 1", Stop: "powr < 1"} }, `unknown field "powr"`},
		"trigger of who knows": {func(cfg *trackv1.Track) {
			cfg.Fields[0].From = "field/+/power"
			cfg.Trigger = &trackv1.Trigger{Start: "`power.meter` > 1"}
		}, ""},
	} {
		cfg := power()
		c.spoil(cfg)
		found := track.Kind.Check(cfg)
		switch {
		case c.says == "" && len(found) > 0:
			t.Errorf("%s: %v", name, found)
		case c.says != "" && (len(found) != 1 || !strings.Contains(found[0].Message, c.says)):
			t.Errorf("%s: %v, want %q", name, found, c.says)
		}
	}
}

// Records dropped before a reader had them are reported by sequence, and the reader finds the same
// records missing. This also holds for a reader that has read some of them.
func TestDropped(t *testing.T) {
	for name, had := range map[string]uint64{"nothing was read": 0, "a reader is on its way": 1} {
		t.Run(name, func(t *testing.T) { testDropped(t, had) })
	}
}

func testDropped(t *testing.T, had uint64) {
	r := actorstest.NewOn(t, bus.Config{MaxTracks: 1 << 20})
	cfg := power()
	cfg.Fields[0].From = "field/meter/+"
	cfg.Memory = 1 << 30 // nothing may be dropped before the write, however slow the disk is
	dropped := actorstest.Watch(r, "event/"+path+"/dropped", &trackv1.Dropped{})
	cell := r.Start(path, track.Kind, cfg)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	long := strings.Repeat("x", 10_000)
	subject := bus.Subject(actorstest.Gateway, bus.Track, path, "records")
	state := func() bus.TrackState {
		st, err := r.Bus.Track(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	first := func() uint64 {
		head, _ := record.DecodeHead(state().Oldest.Data)
		return head.First
	}
	newest := func() uint64 { return state().Newest.Seq }
	n := 0
	send := func() {
		m := &samplev1.Samples{Time: timestamppb.Now()}
		for i := range 5 {
			m.Samples = append(m.Samples, &samplev1.Sample{Point: fmt.Sprint("point-", i), Value: &samplev1.Sample_Text{Text: fmt.Sprint(n, long)}})
		}
		if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), m); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for range had {
		send()
		all.next()
		if err := all.place.Ack(all.last); err != nil {
			t.Fatal(err)
		}
	}
	for first() < 5 {
		before := newest()
		send()
		// Otherwise a stalled disk would fill the memory.
		r.Until("it is on disk", func() bool { return newest() > before })
	}
	// In one event or several, depending on the writer and the disk.
	for gone, begun := uint64(0), false; gone < 4; begun = true {
		told := actorstest.Next(t, dropped)
		// The reader's position was looked at before the first record was dropped.
		if !begun && told.From == had+1 {
			gone = had
		}
		if told.From != gone+1 || told.Records != told.To-gone {
			t.Errorf("%v, after %d", told, gone)
		}
		gone = told.To
	}
	if one := all.next(); one.Sequence < 5 {
		t.Errorf("record %d is said to be gone", one.Sequence)
	}
}

// A track whose records were all dropped for the sake of others gives no sequence a second time.
func TestSequenceOutlivesTheRecords(t *testing.T) {
	r := actorstest.NewOn(t, bus.Config{MaxTracks: 1 << 20})
	cell := r.Start(path, track.Kind, power())
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	record := func() uint64 {
		t.Helper()
		answer, err := actorstest.Call(r, path, "Record", &trackv1.RecordRequest{}, &trackv1.RecordResponse{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Sequence
	}
	publish(t, r, "field/meter", time.Now(), map[string]float64{"power": 1})
	before := record()
	other, written := bus.Subject(actorstest.Gateway, bus.Track, "tracks/other", "records"), make(chan error, 1)
	for range 60 {
		r.Bus.Keep(other, "application/octet-stream", make([]byte, 20_000), bus.Normal, func(_ uint64, err error) { written <- err })
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if st, err := r.Bus.Track(t.Context(), bus.Subject(actorstest.Gateway, bus.Track, path, "records")); err != nil || st.Messages != 0 {
		t.Fatalf("%d messages, %v", st.Messages, err)
	}
	r.Stop(cell)
	r.Spawn(cell)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	publish(t, r, "field/meter", time.Now(), map[string]float64{"power": 2})
	if after := record(); after <= before {
		t.Errorf("record %d follows record %d", after, before)
	}
}

// Two wildcard fields whose names hash to the same number get two numbers.
func TestNumbersDiffer(t *testing.T) {
	seen := map[uint32]string{}
	var a, b string
	for i := 0; a == ""; i++ {
		name := fmt.Sprint("p", i)
		h := fnv.New32a()
		_, _ = h.Write([]byte("field/meter/" + name))
		n := h.Sum32() | 1<<31
		if other := seen[n]; other != "" {
			a, b = other, name
		}
		seen[n] = name
	}
	r := actorstest.New(t)
	cfg := power()
	cfg.Fields = []*trackv1.Field{{From: "field/meter/+"}}
	cell := r.Start(path, track.Kind, cfg)
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	all := read(t, r)
	publish(t, r, "field/meter", time.Now(), map[string]float64{a: 1, b: 2})
	if f := all.next().Fields; len(f) != 2 || f[0].ID == f[1].ID {
		t.Errorf("%+v", f)
	}
}
