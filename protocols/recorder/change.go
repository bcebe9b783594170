package recorder

import (
	"bytes"
	"math"
	"time"

	"gatewayd/protocols/record"
)

// changed reports whether the field is to be recorded because of its new value, and remembers a
// change that comes too early.
func (f *field) changed(now time.Duration) bool {
	if f.Policy != OnChange && f.Policy != PeriodicOnChange {
		return false
	}
	if f.recorded && f.quality == f.lastQuality && !f.moved() {
		f.held = false // the value has gone back in the meantime
		return false
	}
	if f.recorded && now-f.lastAt < f.MinInterval {
		f.held = true
		return false
	}
	return true
}

// ripe reports whether the field is to be recorded because time has passed.
func (f *field) ripe(now time.Duration) bool {
	switch {
	case f.held:
		return now-f.lastAt >= f.MinInterval
	case f.Policy == PeriodicOnChange && f.recorded:
		return now-f.lastAt >= max(f.Period, shortest)
	}
	return false
}

// moved reports whether the value differs from the last recorded one by more than the deadband.
func (f *field) moved() bool {
	was, number := asNumber(f.last)
	is, also := asNumber(f.value)
	_, flag := f.value.(bool)
	if !number || !also || flag {
		return !equal(f.last, f.value)
	}
	if math.IsNaN(was) || math.IsNaN(is) {
		return math.IsNaN(was) != math.IsNaN(is)
	}
	band := max(f.Absolute, math.Abs(was)*f.Percent/100)
	if band == 0 {
		return !equal(f.last, f.value)
	}
	return math.Abs(is-was) > band
}

// equal compares values of any type.
func equal(a, b record.Value) bool {
	p, bytesA := a.([]byte)
	q, bytesB := b.([]byte)
	if bytesA || bytesB {
		return bytesA && bytesB && bytes.Equal(p, q)
	}
	return a == b
}

// asNumber returns v as a number; flags are 0 and 1.
func asNumber(v record.Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// now returns the field as it is stored in a record.
func (f *field) now() record.Field {
	return record.Field{Name: f.Name, ID: f.ID, Unit: f.Unit, Value: f.value, Quality: f.quality, Cause: f.cause}
}

// note remembers that the field was recorded.
func (f *field) note(at time.Duration) {
	f.recorded, f.held = true, false
	f.last, f.lastQuality, f.lastAt = f.value, f.quality, at
}
