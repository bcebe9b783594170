package watchdog

import (
	"slices"
	"time"
)

// Mode says how much of the tree a life starts.
type Mode string

// The modes.
const (
	Normal Mode = "normal"
	Safe   Mode = "safe" // only the actors directly below the root, including the bus; groups stay stopped
)

// Breaker breaks boot loops: it increases the time between restarts by the watchdog and finally
// starts in safe mode. The zero value has the defaults.
type Breaker struct {
	// How long a life holds back from starving after 0, 1, 2 … failed lives; the last value applies
	// to all further ones. Default 0, 15 min, 1 h, 6 h.
	Gaps      []time.Duration
	MaxFailed int           // failed lives in the window that lead to safe mode; default 4, at most 32
	Window    time.Duration // running time after which a failure is forgotten; default 24 h
	SafeHold  time.Duration // how long safe mode holds back; default Forever
}

// Failure is a life that counts as failed.
type Failure struct {
	Life    uint64  `json:"life"`
	Outcome Outcome `json:"outcome"`
	Cause   string  `json:"cause,omitempty"`
	AtMS    int64   `json:"at_ms"` // accumulated running time at its end
}

// Ledger is what the breaker remembers across lives. It holds no wall-clock time.
type Ledger struct {
	Life      uint64    `json:"life"`       // the life that wrote it
	RunningMS int64     `json:"running_ms"` // accumulated over all earlier lives
	Failures  []Failure `json:"failures,omitempty"`
}

// Plan says how to start a life.
type Plan struct {
	Mode   Mode
	Hold   time.Duration // from the start: no starving before then (Config.Hold); may be Forever
	Failed int           // failed lives in the window
}

// maxRunning, 200 years in milliseconds, keeps sums of corrupt values from overflowing.
const maxRunning = int64(200 * 365 * 24 * time.Hour / time.Millisecond)

func (b Breaker) withDefaults() Breaker {
	if len(b.Gaps) == 0 {
		b.Gaps = []time.Duration{0, 15 * time.Minute, time.Hour, 6 * time.Hour}
	}
	if b.MaxFailed <= 0 {
		b.MaxFailed = 4
	}
	b.MaxFailed = min(b.MaxFailed, 32)
	b.Window = atLeast(b.Window, 24*time.Hour)
	b.SafeHold = atLeast(b.SafeHold, Forever)
	return b
}

// Plan adds the life that ended to the ledger and returns the new ledger, which must be stored, and
// how to start the next life. It uses no clock.
func (b Breaker) Plan(l Ledger, prev Previous) (Ledger, Plan) {
	b = b.withDefaults()
	l = b.book(l, prev)
	p := Plan{Mode: Normal, Failed: len(l.Failures)}
	p.Hold = max(b.Gaps[min(p.Failed, len(b.Gaps)-1)], 0)
	if p.Failed >= b.MaxFailed {
		p.Mode, p.Hold = Safe, b.SafeHold
	}
	return l, p
}

// book adds the running time of the last life and, if it failed, its failure, and drops failures
// outside the window.
func (b Breaker) book(l Ledger, prev Previous) Ledger {
	l.RunningMS = min(max(l.RunningMS, 0), maxRunning)
	last := prev.Record.Life
	var failed *Failure
	switch {
	case prev.Outcome == First:
	case prev.Outcome != Unknown && last < l.Life:
		// A life started, added this record to the ledger, and died before it wrote its own.
		failed = &Failure{Life: l.Life, Outcome: Unknown, Cause: "ended before its record was written"}
	default:
		l.RunningMS = min(l.RunningMS+min(max(prev.Record.LivedMS, 0), maxRunning), maxRunning)
		if prev.Failed() {
			failed = &Failure{Life: max(last, l.Life), Outcome: prev.Outcome}
			if prev.Outcome == Starved {
				failed.Cause = prev.Cause.String()
			}
		}
	}
	l.Failures = slices.Clone(l.Failures)
	if failed != nil {
		failed.AtMS = l.RunningMS
		l.Failures = append(l.Failures, *failed)
	}
	l.Failures = slices.DeleteFunc(l.Failures, func(f Failure) bool {
		return l.RunningMS-min(max(f.AtMS, 0), l.RunningMS) > b.Window.Milliseconds()
	})
	if over := len(l.Failures) - b.MaxFailed; over > 0 {
		l.Failures = l.Failures[over:]
	}
	l.Life = max(last, l.Life) + 1
	return l
}

// Healthy records a quiet period of complete evidence. In normal mode it clears the failures. A
// life in safe mode has only proved that the base works: it earns one normal start on probation,
// with the longest gap, and another failure there leads straight back to safe mode. This causes
// neither a restart loop nor a permanent safe mode.
func (b Breaker) Healthy(l Ledger, m Mode) Ledger {
	b = b.withDefaults()
	if m != Safe {
		l.Failures = nil
		return l
	}
	if over := len(l.Failures) - (b.MaxFailed - 1); over > 0 {
		l.Failures = slices.Clone(l.Failures[over:])
	}
	return l
}
