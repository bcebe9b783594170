package modbusunit

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/wire"
	samplev1 "gatewayd/schemas/sample/v1"
)

const (
	stale = "stale"
	bad   = "bad"
)

// good is the source time of a point's last good value; nil: there was none.
type good = *timestamppb.Timestamp

// fill takes what a scan has brought into the group's samples. The first answer
// tells the source time of all.
func (g *group) fill(results []wire.Result) verdict {
	var v verdict
	at := sourceTime(results)
	g.samples.Time = at
	for i := range results {
		r := &results[i]
		if r.Err != nil {
			cause := causeOf(r)
			v.miss(r, cause, len(g.reads[i].Points))
			for _, ref := range g.reads[i].Points {
				g.keep(ref.Index, stale, cause)
			}
			continue
		}
		v.answered++
		g.extract(i, r.Data, at, &v)
	}
	return v
}

func (g *group) extract(read int, data []byte, at good, v *verdict) {
	got, err := points.Extract(g.reads[read], g.points, data)
	if err != nil {
		v.misfits(err.Error(), len(g.reads[read].Points))
		for _, ref := range g.reads[read].Points {
			g.keep(ref.Index, bad, err.Error())
		}
		return
	}
	for _, one := range got {
		if one.Err != nil {
			v.misfits(one.Err.Error(), 1)
			g.keep(one.Index, bad, one.Err.Error())
			continue
		}
		g.set(one.Index, one.Value, at)
	}
}

// set notes a good value.
func (g *group) set(i int, v points.Value, at good) {
	s := g.samples.Samples[i]
	assign(s, v, &g.points[i])
	s.Quality, s.Cause, s.Time = "", "", nil
	g.read[i] = at
}

// keep notes that a point's value is an old one, and why.
func (g *group) keep(i int, quality, cause string) {
	s := g.samples.Samples[i]
	s.Quality, s.Cause, s.Time = quality, cause, g.read[i]
}

// keepAll is keep for all points of the group.
func (g *group) keepAll(cause string, now time.Time) {
	g.samples.Time = timestamppb.New(now)
	for i := range g.points {
		g.keep(i, stale, cause)
	}
}

// assign puts a value into a sample, into what is there already if it fits.
func assign(s *samplev1.Sample, v points.Value, p *points.Point) {
	plain := (p.Scale == 0 || p.Scale == 1) && p.Offset == 0
	switch v.Kind() {
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

func sourceTime(results []wire.Result) good {
	var at time.Time
	for _, r := range results {
		if (r.Outcome == schedule.Answered || r.Outcome == schedule.Exception) && (at.IsZero() || r.At.Before(at)) {
			at = r.At
		}
	}
	if at.IsZero() {
		at = time.Now()
	}
	return timestamppb.New(at)
}

// causeOf says in few words why a request brought nothing.
func causeOf(r *wire.Result) string {
	var e *modbus.Exception
	var d *wire.Down
	switch {
	case errors.As(r.Err, &e):
		return e.Error()
	case errors.As(r.Err, &d):
		return d.Cause
	case r.Outcome == schedule.Garbled && errors.Is(r.Err, modbus.ErrMismatch):
		return "answer to something else"
	case r.Outcome == schedule.Garbled:
		return "corrupt answer"
	case modbus.LinkLost(r.Err):
		return "connection lost"
	case errors.Is(r.Err, modbus.ErrTimeout):
		return "timeout"
	}
	return r.Err.Error()
}

// verdict sums a scan up.
type verdict struct {
	answered int // reads that brought data
	alive    bool
	missing  int // points without a good value
	cause    string
}

func (v *verdict) miss(r *wire.Result, cause string, n int) {
	v.alive = v.alive || r.Outcome == schedule.Exception
	v.misfits(cause, n)
}

func (v *verdict) misfits(cause string, n int) {
	if v.cause == "" {
		v.cause = cause
	}
	v.missing += n
}

// summary is the cause for the unit's health; empty: all is good.
func (v *verdict) summary(of int) string {
	if v.missing == 0 || v.missing == of {
		return v.cause
	}
	return fmt.Sprintf("%d of %d points: %s", v.missing, of, v.cause)
}
