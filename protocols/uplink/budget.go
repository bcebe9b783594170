package uplink

import (
	"math"
	"time"
)

// Limits are what an uplink may spend; 0 means no limit.
type Limits struct {
	HourBytes, HourRecords   uint64
	MonthBytes, MonthRecords uint64
	Billing                  int // day on which the month begins, 1 to 28; 0 is 1
}

// Spent is what has been spent in this hour and month. It is a value so that it can be kept across
// restarts.
type Spent struct {
	Hour, Month              time.Time // beginning of each, UTC; zero: nothing has been spent yet
	HourBytes, HourRecords   uint64
	MonthBytes, MonthRecords uint64
}

// Turn returns s at another time: what was spent in an hour or month that is over is dropped.
// Nothing is dropped by a clock that goes back, or that returns from there or from a time before
// this program existed, so that a step does not grant a budget twice. A change of the billing day
// drops nothing either.
func (s Spent) Turn(l Limits, now time.Time) Spent {
	now = now.UTC()
	var over bool
	if s.Hour, over = turn(s.Hour, now.Truncate(time.Hour), now); over {
		s.HourBytes, s.HourRecords = 0, 0
	}
	// Whether the month is over is unknown until the clock is right.
	if now.Before(implausible) && s.Month.After(implausible) {
		return s
	}
	// The billing day may have changed since; the spending still counts.
	if !s.Month.IsZero() && s.Month.Equal(monthOf(now, s.Month.Day())) {
		s.Month = monthOf(now, l.Billing)
	}
	if s.Month, over = turn(s.Month, monthOf(now, l.Billing), now); over {
		s.MonthBytes, s.MonthRecords = 0, 0
	}
	return s
}

var (
	// implausible is earlier than any time of a clock that is right.
	implausible = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	// maxSetback is by how much a clock may temporarily go back. If it goes back by more, it was in
	// the future before, and no budget is to wait for that time.
	maxSetback = 48 * time.Hour
)

// turn returns the beginning of the present span and whether the previous one, which began at was,
// is over.
func turn(was, begins, now time.Time) (_ time.Time, over bool) {
	switch {
	case was.IsZero():
		return begins, true
	// Anything spent since then was spent recently.
	case was.Before(implausible) && begins.After(implausible):
		return begins, false
	case begins.After(was):
		return begins, true
	case was.Sub(now) <= maxSetback:
		return was, false
	}
	return begins, false
}

// Hefty reports whether so much has been spent since before, a 64th of a limit, that it should be
// written to disk at once.
func (s Spent) Hefty(l Limits, before Spent) bool {
	hefty := func(limit, now, before uint64) bool {
		if now >= before {
			now -= before
		}
		return limit > 0 && now > 0 && now >= limit/64
	}
	return hefty(l.HourBytes, s.HourBytes, before.HourBytes) || hefty(l.HourRecords, s.HourRecords, before.HourRecords) ||
		hefty(l.MonthBytes, s.MonthBytes, before.MonthBytes) || hefty(l.MonthRecords, s.MonthRecords, before.MonthRecords)
}

// Add returns s after something was sent.
func (s Spent) Add(l Limits, now time.Time, bytes, records uint64) Spent {
	s = s.Turn(l, now)
	s.HourBytes, s.HourRecords = sum(s.HourBytes, bytes), sum(s.HourRecords, records)
	s.MonthBytes, s.MonthRecords = sum(s.MonthBytes, bytes), sum(s.MonthRecords, records)
	return s
}

// Room returns how much may be sent now and, if either is 0, when there will be more. No limit is
// math.MaxUint64.
func (s Spent) Room(l Limits, now time.Time) (bytes, records uint64, until time.Time) {
	s = s.Turn(l, now)
	hourBytes, hourRecords := left(l.HourBytes, s.HourBytes), left(l.HourRecords, s.HourRecords)
	monthBytes, monthRecords := left(l.MonthBytes, s.MonthBytes), left(l.MonthRecords, s.MonthRecords)
	if hourBytes == 0 || hourRecords == 0 {
		until = s.Hour.Add(time.Hour)
	}
	if monthBytes == 0 || monthRecords == 0 {
		until = s.Month.AddDate(0, 1, 0)
	}
	return min(hourBytes, monthBytes), min(hourRecords, monthRecords), until
}

func monthOf(now time.Time, billing int) time.Time {
	billing = min(max(billing, 1), 28)
	year, month, day := now.Date()
	if day < billing {
		month--
	}
	return time.Date(year, month, billing, 0, 0, 0, 0, time.UTC)
}

func left(limit, spent uint64) uint64 {
	switch {
	case limit == 0:
		return math.MaxUint64
	case spent >= limit:
		return 0
	}
	return limit - spent
}

func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
