package uplink

import (
	"fmt"
	"strings"
	"time"
)

// Hours are spans of the day. Each has its first minute and the one after its last, counted from
// midnight; a span whose end is not after its beginning crosses midnight.
type Hours [][2]int

const day = 24 * 60

// ParseHours parses spans like "22:00-06:00".
func ParseHours(spans []string) (Hours, error) {
	var h Hours
	for _, s := range spans {
		from, to, ok := strings.Cut(s, "-")
		a, err := clock(from)
		b, err2 := clock(to)
		if !ok || err != nil || err2 != nil || a == b {
			return nil, fmt.Errorf("%q is not a time span like 22:00-06:00", s)
		}
		h = append(h, [2]int{a, b})
	}
	return h, nil
}

func clock(s string) (int, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// Until returns when the spans that contain now are over, by the clock of now's location; false if
// none contains it. Spans that cover the whole day are over after a day.
func (h Hours) Until(now time.Time) (time.Time, bool) {
	minute := now.Hour()*60 + now.Minute()
	passed := 0
	for again := true; again && passed < day; {
		again = false
		for _, s := range h {
			at := (minute + passed) % day
			if n := inside(s, at); n > 0 {
				passed += n
				again = true
			}
		}
	}
	if passed == 0 {
		return now, false
	}
	year, month, date := now.Date()
	return time.Date(year, month, date, 0, minute+min(passed, day), 0, 0, now.Location()), true
}

// inside returns how many minutes of the span are left at a minute of the day; 0 if it is outside.
func inside(s [2]int, at int) int {
	from, to := s[0], s[1]
	switch {
	case from < to && at >= from && at < to:
		return to - at
	case from > to && at >= from:
		return day - at + to
	case from > to && at < to:
		return to - at
	}
	return 0
}
