package uplink

import (
	"math"
	"time"
)

// Limits are what an uplink may spend; 0 is without limit.
type Limits struct {
	HourBytes, HourRecords   uint64
	MonthBytes, MonthRecords uint64
	Billing                  int // day on which the month begins, 1 to 28; 0 is 1
}

// Spent is what has been spent of the limits in this hour and month. It is a value so that it can be kept across restarts.
type Spent struct {
	Hour, Month              time.Time // when they began, UTC; zero: nothing has been spent yet
	HourBytes, HourRecords   uint64
	MonthBytes, MonthRecords uint64
}

// Turn is s at another time: what was spent in an hour or month that is over is forgotten. A clock that goes back forgets nothing, so
// that a step does not grant a budget twice.
func (s Spent) Turn(l Limits, now time.Time) Spent {
	now = now.UTC()
	hour, month := now.Truncate(time.Hour), monthOf(now, l.Billing)
	if hour.After(s.Hour) {
		s.HourBytes, s.HourRecords = 0, 0
	}
	if month.After(s.Month) {
		s.MonthBytes, s.MonthRecords = 0, 0
	}
	s.Hour, s.Month = hour, month
	return s
}

// Add is s after so much was sent.
func (s Spent) Add(l Limits, now time.Time, bytes, records uint64) Spent {
	s = s.Turn(l, now)
	s.HourBytes, s.HourRecords = sum(s.HourBytes, bytes), sum(s.HourRecords, records)
	s.MonthBytes, s.MonthRecords = sum(s.MonthBytes, bytes), sum(s.MonthRecords, records)
	return s
}

// Room is how much may be sent now, and if either is 0, when there will be more. No limit is math.MaxUint64.
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
