package modbusunit

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/schedule"
	samplev1 "gatewayd/schemas/sample/v1"
)

const (
	stale = "stale"
	bad   = "bad"
)

// good is the source time of a good value.
type good = *timestamppb.Timestamp

// last is a point's last good value and its source time. at is nil if there was none.
type last struct {
	value points.Value
	at    good
}

// poor is why a point's value is not good. It is the zero value if the value is good.
type poor struct{ quality, cause string }

// fill puts the results of a scan into the group's samples. All points get the time of the first
// answer as source time. If stale samples were published during the scan, it is the first answer
// after those, so that a group's samples never go back in time.
func (g *group) fill(results []dispatch.Result) verdict {
	var v verdict
	var after time.Time
	if g.overtook {
		after = g.time.AsTime()
	}
	at := sourceTime(results, after)
	g.time = at
	clear(g.poor)
	raw := make([]points.Value, len(g.scaled))
	for i := range results {
		r := &results[i]
		if r.Err != nil {
			cause := r.Cause()
			v.miss(r, cause, len(g.reads[i].Points))
			for _, ref := range g.reads[i].Points {
				g.keep(ref.Index, stale, cause)
			}
			continue
		}
		v.answered++
		g.extract(i, r.Data, at, raw, &v)
	}
	if g.cuts != nil {
		for _, r := range g.cuts.resting {
			v.misfits(r.cause, len(r.Points))
			for _, ref := range r.Points {
				g.keep(ref.Index, stale, r.cause)
			}
		}
	}
	g.rescale(raw, at, &v)
	g.compute(at, &v)
	if v.missing == 0 {
		g.poor = nil
	}
	return v
}

func (g *group) extract(read int, data []byte, at good, raw []points.Value, v *verdict) {
	got, err := points.Extract(g.reads[read], g.points, data)
	if err != nil {
		v.misfits(err.Error(), len(g.reads[read].Points))
		for _, ref := range g.reads[read].Points {
			g.keep(ref.Index, bad, err.Error())
		}
		return
	}
	for one := range got.All {
		if one.Err != nil {
			v.misfits(one.Err.Error(), 1)
			g.keep(one.Index, bad, one.Err.Error())
			continue
		}
		if k := slices.IndexFunc(g.scaled, func(s scaling) bool { return s.index == one.Index }); k >= 0 {
			raw[k] = one.Value
			continue
		}
		g.last[one.Index] = last{one.Value, at}
	}
}

// keep notes that a point keeps its old value, and why.
func (g *group) keep(i int, quality, cause string) {
	if g.poor == nil {
		g.poor = make([]poor, len(g.points))
	}
	g.poor[i] = poor{quality, cause}
}

// keepAll calls keep for all points of the group.
func (g *group) keepAll(cause string, now time.Time) {
	g.time = timestamppb.New(now)
	for i := range g.points {
		g.keep(i, stale, cause)
	}
}

// write writes the points in list into a message, or all points.
func (g *group) write(m *samplev1.Samples, list []int, all bool) {
	m.Time = g.time
	for i, s := range m.Samples {
		if !all {
			i = list[i]
		}
		s.Point = g.points[i].Name
		assign(s, g.last[i].value, &g.points[i])
		s.Label = g.points[i].Label(g.last[i].value)
		s.Quality, s.Cause, s.Time = "", "", nil
		if g.poor != nil && g.poor[i] != (poor{}) {
			s.Quality, s.Cause, s.Time = g.poor[i].quality, g.poor[i].cause, g.last[i].at
		}
	}
}

// assign puts a value into a sample. It reuses the object of the sample's old value if the type
// fits.
func assign(s *samplev1.Sample, v points.Value, p *points.Point) {
	plain := (p.Scale == 0 || p.Scale == 1) && p.Offset == 0
	switch v.Kind() {
	case points.None:
		s.Value = nil
	case points.FlagKind:
		flag, _ := v.Bool()
		s.Value = &samplev1.Sample_Flag{Flag: flag}
	case points.TextKind:
		text, _ := v.Text()
		s.Value = &samplev1.Sample_Text{Text: text}
	case points.IntegerKind:
		if plain && p.Type == points.Int64 {
			i, _ := v.Int64()
			s.Value = &samplev1.Sample_Integer{Integer: i}
			return
		}
		if plain && p.Type == points.Uint64 {
			u, _ := v.Uint64()
			s.Value = &samplev1.Sample_Unsigned{Unsigned: u}
			return
		}
		fallthrough
	default:
		f, _ := v.Float64()
		if n, ok := s.Value.(*samplev1.Sample_Number); ok {
			n.Number = f
			return
		}
		s.Value = &samplev1.Sample_Number{Number: f}
	}
}

// sourceTime returns the time of the first answer that is not before after. If all answers are
// before it, it returns after; if there are none, the current time.
func sourceTime(results []dispatch.Result, after time.Time) good {
	var first time.Time
	answered := false
	for _, r := range results {
		if r.Outcome != schedule.Answered && r.Outcome != schedule.Exception {
			continue
		}
		answered = true
		if !r.At.Before(after) && (first.IsZero() || r.At.Before(first)) {
			first = r.At
		}
	}
	switch {
	case !answered:
		first = time.Now()
	case first.IsZero():
		first = after
	}
	return timestamppb.New(first)
}

// verdict sums up a scan.
type verdict struct {
	answered int // reads that returned data
	alive    bool
	missing  int // points without a good value
	cause    string
}

func (v *verdict) miss(r *dispatch.Result, cause string, n int) {
	v.alive = v.alive || r.Outcome == schedule.Exception
	v.misfits(cause, n)
}

func (v *verdict) misfits(cause string, n int) {
	if v.cause == "" {
		v.cause = cause
	}
	v.missing += n
}

// summary returns the cause for the unit's health; empty: all points are good.
func (v *verdict) summary(of int) string {
	if v.missing == 0 || v.missing == of {
		return v.cause
	}
	return fmt.Sprintf("%d of %d points: %s", v.missing, of, v.cause)
}
