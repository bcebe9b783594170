package firewall

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// window is a part of the day on some days of the week, in wall-clock time.
type window struct {
	days     [7]bool // Sunday first, as in package time
	from, to int     // minutes since midnight; to beyond 24:00 is on the following day
}

const day = 24 * 60

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseWindow parses "mon-fri 06:00-18:00", "sat,sun" or "22:00-06:00". A window whose end is
// before its start ends on the next day.
func parseWindow(s string) (window, error) {
	w := window{to: day}
	days, hours := "sun-sat", ""
	switch f := strings.Fields(s); {
	case len(f) == 2:
		days, hours = f[0], f[1]
	case len(f) == 1 && strings.Contains(f[0], ":"):
		hours = f[0]
	case len(f) == 1:
		days = f[0]
	default:
		return w, fmt.Errorf("time %q is not like \"mon-fri 06:00-18:00\"", s)
	}
	if !w.setDays(days) || hours != "" && !w.setHours(hours) {
		return w, fmt.Errorf("time %q is not like \"mon-fri 06:00-18:00\", \"sat,sun\" or \"22:00-06:00\"", s)
	}
	return w, nil
}

func (w *window) setDays(s string) bool {
	for one := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(one, "-")
		if !isRange {
			last = first
		}
		i, j := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if i < 0 || j < 0 {
			return false
		}
		for ; i != j; i = (i + 1) % 7 {
			w.days[i] = true
		}
		w.days[j] = true
	}
	return true
}

func (w *window) setHours(s string) bool {
	from, to, ok := strings.Cut(s, "-")
	var okFrom, okTo bool
	w.from, okFrom = minutes(from)
	w.to, okTo = minutes(to)
	if w.to <= w.from {
		w.to += day
	}
	return ok && okFrom && okTo && w.from < day
}

// minutes parses "00:00" to "24:00".
func minutes(s string) (int, bool) {
	if s == "24:00" {
		return day, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == 5
}

// holds reports whether t, in its own time zone, is within the window. The day that counts is the
// one on which the window began.
func (w window) holds(t time.Time) bool {
	m, d := t.Hour()*60+t.Minute(), t.Weekday()
	yesterday := (d + 6) % 7
	return w.days[d] && w.from <= m && m < w.to || w.days[yesterday] && m+day < w.to
}
