package watchdog

import (
	"slices"
	"time"
)

// Mode is how much of the tree a life starts.
type Mode string

// The modes.
const (
	Normal Mode = "normal"
	Safe   Mode = "safe" // only the actors directly below the root, the bus among them; groups stay stopped
)

// Breaker breaks boot loops: it spaces restarts by the watchdog out and ends in
// safe mode. The zero value has the defaults.
type Breaker struct {
	Gaps      []time.Duration // how long a life holds back from starving after 0, 1, 2 … failed ones, the last one for all more; default 0, 15 min, 1 h, 6 h
	MaxFailed int             // failed lives in the window that end in safe mode; default 4, at most 32
	Window    time.Duration   // running time after which a failure is forgotten; default 24 h
	SafeHold  time.Duration   // how long safe mode holds back; default Forever
}

// Failure is a life that counts against the gateway.
type Failure struct {
	Life    uint64  `json:"life"`
	Outcome Outcome `json:"outcome"`
	Cause   string  `json:"cause,omitempty"`
	AtMS    int64   `json:"at_ms"` // accumulated running time at its end
}

// Ledger is what the breaker remembers across lives. It holds no wall time.
type Ledger struct {
	Life      uint64    `json:"life"`       // the life that wrote it
	RunningMS int64     `json:"running_ms"` // accumulated over all lives before
	Failures  []Failure `json:"failures,omitempty"`
}

// Plan is how to start a life.
type Plan struct {
	Mode   Mode
	Hold   time.Duration // from the start: no starving before then (Config.Hold); may be Forever
	Failed int           // failed lives in the window
}

// maxRunning keeps sums of hostile numbers from overflowing: 200 years.
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

// Plan books the life that ended and says how to start the next. It has no
// clock. The ledger returned is to be kept.
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

// book adds the running time and, if it failed, the failure of the last life,
// and forgets failures beyond the window.
func (b Breaker) book(l Ledger, prev Previous) Ledger {
	l.RunningMS = min(max(l.RunningMS, 0), maxRunning)
	last := prev.Record.Life
	var failed *Failure
	switch {
	case prev.Outcome == First:
	case prev.Outcome != Unknown && last < l.Life:
		// A life started, booked this record and died before it wrote its own.
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

// Healthy books a quiet period of complete evidence. A normal life clears the
// ledger. A life in safe mode has proved only that the base works: it earns one
// normal start on probation, with the longest gap, and another failure there
// leads straight back. So neither a loop nor an eternal safe mode comes of it.
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
