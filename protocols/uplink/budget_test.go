package uplink_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/uplink"
)

var noon = time.Date(2026, 3, 5, 12, 30, 0, 0, time.UTC)

func TestBudget(t *testing.T) {
	l := uplink.Limits{HourBytes: 100, HourRecords: 10, MonthBytes: 150, Billing: 10}
	s := uplink.Spent{}.Add(l, noon, 60, 4)
	if bytes, records, until := s.Room(l, noon); bytes != 40 || records != 6 || !until.IsZero() {
		t.Error(bytes, records, until)
	}
	s = s.Add(l, noon, 50, 1) // a batch may exceed the limit
	if bytes, _, until := s.Room(l, noon); bytes != 0 || !until.Equal(noon.Truncate(time.Hour).Add(time.Hour)) {
		t.Error(bytes, until)
	}
	// 40 are left of the month.
	if bytes, records, _ := s.Room(l, noon.Add(time.Hour)); bytes != 40 || records != 10 {
		t.Error(bytes, records)
	}
	s = s.Add(l, noon.Add(time.Hour), 40, 1)
	if bytes, _, until := s.Room(l, noon.Add(time.Hour)); bytes != 0 || !until.Equal(time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)) {
		t.Error(bytes, until)
	}
	if bytes, records, until := s.Room(l, noon.AddDate(0, 0, 5)); bytes != 100 || records != 10 || !until.IsZero() {
		t.Error(bytes, records, until)
	}
	if bytes, records, until := s.Room(uplink.Limits{}, noon); bytes != math.MaxUint64 || records != math.MaxUint64 || !until.IsZero() {
		t.Error(bytes, records, until)
	}
}

func TestAnotherBillingDayGrantsNothing(t *testing.T) {
	s := uplink.Spent{}.Add(uplink.Limits{}, noon, 100, 1)
	l := uplink.Limits{MonthBytes: 100}
	for _, l.Billing = range []int{3, 5, 6, 28, 1, 4} {
		if bytes, _, until := s.Room(l, noon); bytes != 0 || !until.After(noon) || until.After(noon.AddDate(0, 1, 0)) || until.Day() != l.Billing {
			t.Errorf("from the %d.: room for %d until %s", l.Billing, bytes, until)
		}
		s = s.Turn(l, noon)
	}
	if s = s.Turn(l, noon.AddDate(0, 1, 0)); s.MonthBytes != 0 {
		t.Error(s)
	}
}

func TestAClockThatGoesBackGrantsNothing(t *testing.T) {
	l := uplink.Limits{HourBytes: 100, MonthBytes: 100}
	s := uplink.Spent{}.Add(l, noon, 100, 1)
	for _, back := range []time.Duration{time.Minute, 25 * time.Hour, 400 * 24 * time.Hour} {
		turned := s.Turn(l, noon.Add(-back))
		if bytes, _, _ := turned.Room(l, noon.Add(-back)); bytes != 0 {
			t.Errorf("%s back: %d", back, bytes)
		}
	}
}

// Nor does a clock that is temporarily wrong: off by 25 hours, or at 1970 as after each start of a
// gateway without a battery-backed clock.
func TestAClockThatIsWrongForAWhileGrantsNothing(t *testing.T) {
	l := uplink.Limits{HourBytes: 100, MonthBytes: 100, Billing: 5}
	for name, wrong := range map[string]time.Time{
		"a minute back": noon.Add(-time.Minute), "25 hours back, and in another month": noon.Add(-25 * time.Hour), "1970": time.Unix(3600*24*40, 0),
	} {
		s := uplink.Spent{}.Add(l, noon, 100, 1).Turn(l, wrong)
		s = s.Turn(l, wrong.Add(time.Minute)).Turn(l, noon.Add(2*time.Minute))
		if s.HourBytes != 100 || s.MonthBytes != 100 {
			t.Errorf("%s: %+v", name, s)
		}
		if s = s.Turn(l, noon.AddDate(0, 1, 0)); s.HourBytes+s.MonthBytes != 0 {
			t.Errorf("%s: a month later %+v", name, s)
		}
	}
	s := uplink.Spent{}.Add(l, noon, 100, 1).Turn(l, time.Unix(60, 0)) // restarted in the next month
	if s = s.Turn(l, noon.AddDate(0, 1, 0)); s.MonthBytes != 0 {       // the hour is unknown
		t.Errorf("a month later %+v", s)
	}
	s = uplink.Spent{}.Add(l, time.Unix(60, 0), 70, 1) // the very first start
	if bytes, _, _ := s.Turn(l, noon).Room(l, noon); bytes != 30 {
		t.Errorf("there is room for %d: %+v", bytes, s)
	}
	// A clock that is never right.
	s = uplink.Spent{}.Add(uplink.Limits{HourBytes: 100}, time.Unix(60, 0), 100, 1)
	if bytes, _, _ := s.Room(uplink.Limits{HourBytes: 100}, time.Unix(3660, 0)); bytes != 100 {
		t.Errorf("an hour later there is room for %d", bytes)
	}
	// One that was in the future.
	s = uplink.Spent{}.Add(l, noon.AddDate(70, 0, 0), 100, 1).Turn(l, noon)
	if bytes, _, _ := s.Room(l, noon.AddDate(0, 1, 0)); bytes != 100 {
		t.Errorf("there is room for %d", bytes)
	}
}

// Spending is written to disk often enough for a power cut, but not for each record of a large
// budget.
func TestWhatIsHefty(t *testing.T) {
	l := uplink.Limits{MonthBytes: 6400, HourRecords: 10}
	before := uplink.Spent{}.Add(l, noon, 1000, 1)
	for _, c := range []struct {
		bytes, records uint64
		want           bool
	}{{0, 0, false}, {99, 0, false}, {100, 0, true}, {0, 1, true}} {
		if got := before.Add(l, noon, c.bytes, c.records).Hefty(l, before); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
	if !before.Add(l, noon.AddDate(0, 1, 0), 200, 0).Hefty(l, before) || before.Add(l, noon.AddDate(0, 1, 0), 20, 0).Hefty(l, before) {
		t.Error("in the next month")
	}
}

// While the clock runs forward, no hour and no month gets more than its limit and one batch.
func TestBudgetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := uplink.Limits{
			HourBytes: rapid.Uint64Range(0, 1000).Draw(t, "hour"), MonthBytes: rapid.Uint64Range(0, 5000).Draw(t, "month"),
			HourRecords: rapid.Uint64Range(0, 50).Draw(t, "records"), Billing: rapid.IntRange(0, 28).Draw(t, "billing"),
		}
		var s uplink.Spent
		now := noon
		hours, months := map[time.Time]uint64{}, map[time.Time]uint64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "passes")))
			bytes, records, until := s.Room(l, now)
			if (bytes == 0 || records == 0) != until.After(now) {
				t.Fatalf("room %d, %d until %s at %s", bytes, records, until, now)
			}
			if bytes == 0 || records == 0 {
				if b, r, _ := s.Room(l, until); b == 0 || r == 0 {
					if _, _, again := s.Room(l, until); !again.After(until) {
						t.Fatalf("no room at %s, when there was to be some", until)
					}
				}
				continue
			}
			n := min(bytes, rapid.Uint64Range(0, 300).Draw(t, "bytes"))
			s = s.Add(l, now, n, 1)
			hours[s.Hour] += n
			months[s.Month] += n
			if l.HourBytes > 0 && hours[s.Hour] > l.HourBytes || l.MonthBytes > 0 && months[s.Month] > l.MonthBytes {
				t.Fatalf("%v %v", hours, months)
			}
			if s.MonthBytes != months[s.Month] || s.HourBytes != hours[s.Hour] {
				t.Fatalf("%+v, want %d and %d", s, hours[s.Hour], months[s.Month])
			}
		}
	})
}

func TestHours(t *testing.T) {
	at := func(clock string) time.Time {
		m, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 3, 5, m.Hour(), m.Minute(), 20, 0, time.UTC)
	}
	for _, tt := range []struct {
		spans []string
		now   string
		want  string // "": not quiet
	}{
		{[]string{"22:00-06:00"}, "21:59", ""},
		{[]string{"22:00-06:00"}, "22:00", "06 06:00"},
		{[]string{"22:00-06:00"}, "05:59", "05 06:00"},
		{[]string{"22:00-06:00"}, "06:00", ""},
		{[]string{"08:00-10:00", "09:30-12:00"}, "08:30", "05 12:00"},
		{[]string{"08:00-24:00", "00:00-01:00"}, "08:30", "06 01:00"},
		{[]string{"00:00-12:00", "12:00-24:00"}, "08:30", "06 08:30"},
		{nil, "08:30", ""},
	} {
		h, err := uplink.ParseHours(tt.spans)
		if err != nil {
			t.Fatal(err)
		}
		until, quiet := h.Until(at(tt.now))
		got := ""
		if quiet {
			got = until.Format("02 15:04")
		}
		if got != tt.want {
			t.Errorf("%v at %s: %q, want %q", tt.spans, tt.now, got, tt.want)
		}
	}
	for _, bad := range []string{"", "22:00", "22:00-25:00", "22-06", "06:00-06:00", "a-b"} {
		if _, err := uplink.ParseHours([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestQuietHoursEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []string
		for range rapid.IntRange(0, 3).Draw(t, "spans") {
			a := time.Duration(rapid.IntRange(0, 1439).Draw(t, "from"))
			b := (a + time.Duration(rapid.IntRange(1, 900).Draw(t, "long"))) % 1440
			midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			spans = append(spans, midnight.Add(a*time.Minute).Format("15:04")+"-"+midnight.Add(b*time.Minute).Format("15:04"))
		}
		h, err := uplink.ParseHours(spans)
		if err != nil {
			t.Fatal(err)
		}
		now := noon.Add(time.Duration(rapid.IntRange(0, 1439).Draw(t, "now")) * time.Minute)
		until, quiet := h.Until(now)
		if quiet != until.After(now) || until.Sub(now) > 24*time.Hour {
			t.Fatalf("%v at %s: %s, %v", spans, now, until, quiet)
		}
		for at := now; at.Before(until); at = at.Add(time.Minute) {
			if _, q := h.Until(at); !q {
				t.Fatalf("%v: not quiet at %s", spans, at)
			}
		}
		if _, q := h.Until(until); q && until.Sub(now) < 24*time.Hour {
			t.Fatalf("%v: quiet at %s", spans, until)
		}
	})
}
