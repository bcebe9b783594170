// Package ladder decides how to react to a failure: restart, power cycle, then escalate or
// quarantine. Judge is a pure function of a history, a failure and the time; it reads no clock,
// starts nothing and knows nothing of actors.
package ladder

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Level is the kind of reaction to a failure.
type Level string

// The levels, mildest first. A Restart of a group is called FullRestart; an Escalate with no group
// above is called Watchdog.
const (
	Restart     Level = "restart"
	Cycle       Level = "cycle"
	FullRestart Level = "full-restart"
	Quarantine  Level = "quarantine"
	Escalate    Level = "escalate"
	Watchdog    Level = "watchdog"
	Broken      Level = "broken"
)

// Step allows Max uses of Level within any period Within.
type Step struct {
	Level  Level // Restart or Cycle
	Max    int
	Within time.Duration
}

// Ladder is a group's policy for failures.
type Ladder struct {
	Steps      []Step
	End        Level         // when all steps are used up: Escalate or Quarantine
	Backoff    time.Duration // before the second restart in a row; doubles from there
	MaxBackoff time.Duration
	Quarantine time.Duration // between attempts to restart a quarantined child
}

// Parse reads steps like "restart 3 in 1m" and "cycle 2 in 10m", optionally followed by "escalate"
// or "quarantine". The default end is "escalate".
func Parse(words []string) (Ladder, error) {
	l := Ladder{End: Escalate}
	for i, w := range words {
		f := strings.Fields(w)
		switch {
		case len(f) == 1 && (f[0] == string(Escalate) || f[0] == string(Quarantine)):
			if i != len(words)-1 {
				return l, fmt.Errorf("%q must be the last step", w)
			}
			l.End = Level(f[0])
		case len(f) == 4 && (f[0] == string(Restart) || f[0] == string(Cycle)) && f[2] == "in":
			n, err := strconv.Atoi(f[1])
			d, derr := time.ParseDuration(f[3])
			if err != nil || derr != nil || n < 1 || n > 1000 || d <= 0 {
				return l, fmt.Errorf("%q: want a count from 1 to 1000 and a time, as in %q", w, f[0]+" 3 in 1m")
			}
			l.Steps = append(l.Steps, Step{Level(f[0]), n, d})
		default:
			return l, fmt.Errorf(`%q is not a step: write "restart 3 in 1m", "cycle 2 in 10m", "escalate" or "quarantine"`, w)
		}
	}
	return l, nil
}

// History records what has been done so far about one child, or, for cycles, about one owner of
// power. The zero value is an empty history.
type History struct {
	used      [][]time.Duration // when each step was used, oldest first
	Probation bool              // released from quarantine and not healthy since: restarts are not tried again
}

// Failure is the failure to be judged.
type Failure struct {
	AtLeast  Level   // Restart, or Cycle if a new life alone will not help, or Broken
	CanCycle bool    // what the failure implicates can be power-cycled
	Jitter   float64 // in [0, 1): spreads delays by ±20 %
}

// Action is the decision.
type Action struct {
	Level   Level
	Attempt int           // number of this use of the level in its window; from 1
	Left    int           // uses left in the window
	Delay   time.Duration // wait this long first
}

// Judge picks the mildest step that may help and is not used up. Restarts are counted per child.
// Cycles are counted per thing that is cycled, because a cycle affects everything that depends on
// it: group is the history of what f implicates. Times are on any monotonic clock. A used step
// becomes available again when its window has passed.
func (l Ladder) Judge(child, group History, f Failure, now time.Duration) (History, History, Action) {
	if f.AtLeast == Broken {
		return child, group, Action{Level: Broken}
	}
	for i, s := range l.Steps {
		h := &child
		switch {
		case s.Level == Cycle && !f.CanCycle:
			continue
		case s.Level == Cycle:
			h = &group
		case child.Probation, f.AtLeast == Cycle && f.CanCycle && l.hasCycle():
			continue
		}
		recent := h.recent(i, s.Within, now)
		if len(recent) >= s.Max {
			continue
		}
		*h = h.with(i, len(l.Steps), append(recent, now))
		a := Action{Level: s.Level, Attempt: len(recent) + 1, Left: s.Max - len(recent) - 1}
		if s.Level == Restart {
			a.Delay = l.backoff(len(recent), f.Jitter)
		}
		return child, group, a
	}
	if l.End == Quarantine {
		child.Probation = true
		return child, group, Action{Level: Quarantine, Delay: spread(l.Quarantine, f.Jitter)}
	}
	return child, group, Action{Level: Escalate}
}

func (l Ladder) hasCycle() bool {
	return slices.ContainsFunc(l.Steps, func(s Step) bool { return s.Level == Cycle })
}

// recent returns the uses of step i that still count, in a new slice.
func (h History) recent(i int, within, now time.Duration) []time.Duration {
	if i >= len(h.used) {
		return nil
	}
	k, _ := slices.BinarySearch(h.used[i], now-within+1)
	return slices.Clone(h.used[i][k:])
}

func (h History) with(i, steps int, uses []time.Duration) History {
	used := make([][]time.Duration, steps)
	copy(used, h.used)
	used[i] = uses
	h.used = used
	return h
}

// backoff returns the wait before restart n+1 of a window.
func (l Ladder) backoff(n int, jitter float64) time.Duration {
	if n == 0 || l.Backoff <= 0 {
		return 0
	}
	d := l.MaxBackoff
	if shift := n - 1; l.Backoff < l.MaxBackoff>>shift { // shifted down, because shifted up it may overflow
		d = l.Backoff << shift
	}
	return spread(d, jitter)
}

// spread changes d by up to ±20 %.
func spread(d time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*jitter))
}
