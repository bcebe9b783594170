package recorder

import (
	"math"
	"time"

	"gatewayd/protocols/record"
)

// Resample says what becomes of the values of a period.
type Resample string

// Resamplings.
const (
	Last         Resample = "last"
	Mean         Resample = "mean" // of the values that came
	Min          Resample = "min"
	Max          Resample = "max"
	Sum          Resample = "sum"
	TimeWeighted Resample = "time-weighted" // mean over the time for which each value lasted
)

// accumulator gathers the good values of a period.
type accumulator struct {
	n        int
	sum      float64
	min, max float64
	from     time.Duration // up to where area is known
	area     float64       // value × seconds
	good     time.Duration // for so long there was one
}

// take adds a value that has come.
func (a *accumulator) take(v record.Value, good bool) {
	f, ok := asNumber(v)
	if !good || !ok || math.IsNaN(f) {
		return
	}
	if a.n == 0 {
		a.min, a.max = f, f
	}
	a.n++
	a.sum += f
	a.min, a.max = min(a.min, f), max(a.max, f)
}

// until lets a value last until now.
func (a *accumulator) until(now time.Duration, v record.Value, good bool) {
	d := now - a.from
	if d <= 0 {
		return
	}
	a.from = now
	if f, ok := asNumber(v); good && ok && !math.IsNaN(f) {
		a.area += f * d.Seconds()
		a.good += d
	}
}

// period ends the field's period at a time and begins the next; ok is false if there was nothing in it.
func (f *field) period(end time.Duration) (record.Field, bool) {
	f.sum.until(end, f.value, f.known && f.quality == "")
	a := f.sum
	f.sum = accumulator{from: max(end, a.from)}
	v := f.now()
	if f.Resample == Last || f.Resample == "" {
		return v, f.known
	}
	v.Quality, v.Cause = "", ""
	if f.Resample == TimeWeighted {
		if a.good <= 0 {
			return v, false
		}
		v.Value = a.area / a.good.Seconds()
		return v, true
	}
	if a.n == 0 {
		return v, false
	}
	switch f.Resample {
	case Mean:
		v.Value = a.sum / float64(a.n)
	case Min:
		v.Value = a.min
	case Max:
		v.Value = a.max
	default:
		v.Value = a.sum
	}
	return v, true
}
