package recorder

import (
	"math"
	"time"

	"gatewayd/protocols/record"
)

// Resample says how the values of a period are combined.
type Resample string

// Resamplings.
const (
	Last         Resample = "last"
	Mean         Resample = "mean" // of the values received
	Min          Resample = "min"
	Max          Resample = "max"
	Sum          Resample = "sum"
	TimeWeighted Resample = "time-weighted" // mean weighted by how long each value lasted
)

// accumulator combines the good values of a period.
type accumulator struct {
	n        int
	sum      float64
	min, max float64
	from     time.Duration // end of the time covered by area
	area     float64       // value × seconds
	good     time.Duration // how long the value was good
}

// take adds a new value.
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

// until extends the present value until now.
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

// period ends the field's period and begins the next; ok is false if there was no value.
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
