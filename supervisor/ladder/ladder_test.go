package ladder

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func steps(t testing.TB, words ...string) Ladder {
	t.Helper()
	l, err := Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	l.Backoff, l.MaxBackoff, l.Quarantine = 200*time.Millisecond, 30*time.Second, 5*time.Minute
	return l
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		words []string
		want  string // part of the error; "" is fine
	}{
		"whole":          {[]string{"restart 3 in 1m", "cycle 2 in 10m", "quarantine"}, ""},
		"nothing":        {nil, ""},
		"end only":       {[]string{"escalate"}, ""},
		"end first":      {[]string{"escalate", "restart 1 in 1m"}, "must be the last"},
		"unknown":        {[]string{"reboot 1 in 1m"}, "is not a step"},
		"no count":       {[]string{"restart x in 1m"}, "want a count"},
		"zero":           {[]string{"restart 0 in 1m"}, "want a count"},
		"no unit":        {[]string{"restart 1 in 60"}, "want a count"},
		"negative time":  {[]string{"cycle 1 in -1m"}, "want a count"},
		"too many words": {[]string{"restart 1 in 1m please"}, "is not a step"},
		"empty":          {[]string{""}, "is not a step"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tt.words)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	owner := Failure{AtLeast: Restart, CanCycle: true, Jitter: 0.5}
	wedged := Failure{AtLeast: Cycle, CanCycle: true, Jitter: 0.5}
	unit := Failure{AtLeast: Restart, Jitter: 0.5}
	tests := map[string]struct {
		words []string
		f     Failure
		at    []time.Duration
		want  []Level
	}{
		"a burst climbs to the top":         {[]string{"restart 2 in 1m", "cycle 1 in 1h"}, owner, []time.Duration{0, 1, 2, 3}, []Level{Restart, Restart, Cycle, Escalate}},
		"quiet time lowers it again":        {[]string{"restart 2 in 1m", "cycle 1 in 1h"}, owner, []time.Duration{0, 1, 2, time.Minute + 2}, []Level{Restart, Restart, Cycle, Restart}},
		"a cycle is spent for longer":       {[]string{"restart 1 in 1m", "cycle 1 in 1h"}, owner, []time.Duration{0, 1, time.Minute + 2, time.Minute + 3}, []Level{Restart, Cycle, Restart, Escalate}},
		"wedged starts at the cycle":        {[]string{"restart 2 in 1m", "cycle 1 in 1h"}, wedged, []time.Duration{0, 1}, []Level{Cycle, Escalate}},
		"no power, no cycle":                {[]string{"restart 1 in 1m", "cycle 1 in 1h", "quarantine"}, unit, []time.Duration{0, 1}, []Level{Restart, Quarantine}},
		"wedged without power is restarted": {[]string{"restart 1 in 1m", "escalate"}, Failure{AtLeast: Cycle}, []time.Duration{0, 1}, []Level{Restart, Escalate}},
		"quarantine burns no restarts":      {[]string{"restart 1 in 1m", "quarantine"}, unit, []time.Duration{0, 1, time.Hour, 2 * time.Hour}, []Level{Restart, Quarantine, Quarantine, Quarantine}},
		"a broken config is left alone":     {[]string{"restart 9 in 1m"}, Failure{AtLeast: Broken}, []time.Duration{0, 1}, []Level{Broken, Broken}},
		"in quarantine the power may help":  {[]string{"restart 1 in 1m", "cycle 1 in 1h", "quarantine"}, wedged, []time.Duration{0, 1, 2 * time.Hour}, []Level{Cycle, Quarantine, Cycle}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := steps(t, tt.words...)
			var child, group History
			var got []Level
			for _, at := range tt.at {
				var a Action
				child, group, a = l.Judge(child, group, tt.f, at)
				got = append(got, a.Level)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBackoffDoublesAndIsCapped(t *testing.T) {
	l := steps(t, "restart 40 in 1h")
	var child, group History
	var a Action
	want := time.Duration(0)
	for i := range 40 {
		child, group, a = l.Judge(child, group, Failure{AtLeast: Restart, Jitter: 0.5}, time.Duration(i))
		if a.Delay != want {
			t.Fatalf("delay %d is %s, want %s", i, a.Delay, want)
		}
		want = min(max(200*time.Millisecond, 2*want), 30*time.Second)
	}
}

// The number of restarts in a window is limited to 1000, which is far more than a time can double.
func TestBackoffNeverOverflows(t *testing.T) {
	l := steps(t, "restart 1000 in 24h")
	l.Backoff, l.MaxBackoff = time.Minute, 2*time.Minute
	var child, group History
	var a Action
	for i := range 1000 {
		child, group, a = l.Judge(child, group, Failure{AtLeast: Restart, Jitter: 0.5}, time.Duration(i))
		if i > 1 && a.Delay != l.MaxBackoff {
			t.Fatalf("delay %d is %s, want %s", i, a.Delay, l.MaxBackoff)
		}
	}
}

// TestProperties holds for any ladder and any sequence of failures.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLadder(t)
		var child, group History
		now := time.Duration(0)
		uses := map[Level][]time.Duration{}
		for range rapid.IntRange(1, 80).Draw(t, "failures") {
			now += time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "pause"))
			f := Failure{
				AtLeast: rapid.SampledFrom([]Level{Restart, Cycle}).Draw(t, "at least"), CanCycle: rapid.Bool().Draw(t, "can cycle"),
				Jitter: rapid.Float64Range(0, 0.999).Draw(t, "jitter"),
			}
			before, groupBefore := child, group
			c, g, a := l.Judge(child, group, f, now)
			c2, g2, a2 := l.Judge(before, groupBefore, f, now)
			if a != a2 || c.Probation != c2.Probation || len(g.used) != len(g2.used) {
				t.Fatal("the same question has two answers: an argument was changed")
			}
			child, group = c, g
			uses[a.Level] = append(uses[a.Level], now)
			checkAction(t, l, f, before, a)
		}
		for _, s := range l.Steps {
			checkBudget(t, l, s.Level, uses[s.Level])
		}
	})
}

func checkAction(t *rapid.T, l Ladder, f Failure, before History, a Action) {
	switch {
	case a.Delay < 0 || a.Delay > max(l.MaxBackoff, l.Quarantine)*12/10:
		t.Fatalf("delay %s", a.Delay)
	case a.Level == Cycle && !f.CanCycle:
		t.Fatal("cycled what cannot be cycled")
	case a.Level == Restart && f.AtLeast == Cycle && f.CanCycle && l.hasCycle():
		t.Fatal("restarted what is wedged")
	case a.Level == Restart && before.Probation:
		t.Fatal("a child in quarantine burns restarts")
	case (a.Level == Escalate || a.Level == Quarantine) && a.Level != l.End:
		t.Fatalf("ended in %s, want %s", a.Level, l.End)
	}
}

// checkBudget: no window has more uses than all steps of that level allow.
func checkBudget(t *rapid.T, l Ladder, level Level, at []time.Duration) {
	most, widest := 0, time.Duration(0)
	for _, s := range l.Steps {
		if s.Level == level {
			most += s.Max
			if widest == 0 || s.Within < widest {
				widest = s.Within
			}
		}
	}
	for i := range at {
		n := 0
		for _, later := range at[i:] {
			if later-at[i] < widest {
				n++
			}
		}
		if n > most {
			t.Fatalf("%d times %s within %s, at most %d are allowed", n, level, widest, most)
		}
	}
}

func anyLadder(t *rapid.T) Ladder {
	l := Ladder{End: rapid.SampledFrom([]Level{Escalate, Quarantine}).Draw(t, "end"), Backoff: 200 * time.Millisecond, MaxBackoff: 30 * time.Second, Quarantine: 5 * time.Minute}
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		l.Steps = append(l.Steps, Step{
			rapid.SampledFrom([]Level{Restart, Cycle}).Draw(t, "level"), rapid.IntRange(1, 5).Draw(t, "max"),
			time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(t, "within")),
		})
	}
	return l
}

// TestQuietTimeGivesTheBudgetBack: after the longest window without a failure the ladder starts at
// its first step again.
func TestQuietTimeGivesTheBudgetBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLadder(t)
		f := Failure{AtLeast: Restart, CanCycle: true, Jitter: 0.5}
		_, _, fresh := l.Judge(History{}, History{}, f, 0)
		var child, group History
		now := time.Duration(0)
		for range rapid.IntRange(0, 50).Draw(t, "failures") {
			now += time.Second
			child, group, _ = l.Judge(child, group, f, now)
		}
		child.Probation = false // it has been healthy
		if _, _, a := l.Judge(child, group, f, now+time.Hour); a != fresh {
			t.Fatalf("after quiet time %+v, at first %+v", a, fresh)
		}
	})
}
