package schedule

import (
	"math"
	"time"
)

// BreakerConfig is how patient one unit's breaker is; the zero value means the defaults.
type BreakerConfig struct {
	Failures   int           // transactions without an answer in a row that open it; default 3
	MinTimeout time.Duration // the least a request waits for its answer; default 50 ms
	MaxTimeout time.Duration // the most, and what an unknown unit gets; default 1 s, never below MinTimeout
	Sigmas     float64       // learned timeout = mean + Sigmas · standard deviation of the response times; default 4
	Base       time.Duration // the first back-off: the unit's poll interval; default 1 s
	Cap        time.Duration // the longest back-off; default 60 s, never below Base
	Probe      time.Duration // the most a probe waits while nothing is learned: 100 ms by default, plus the air time of question and answer
	Jitter     float64       // a back-off is shortened at random by up to this part, 0 to 0.5; default 0.2, negative: none
	Seed       uint64        // of the jitter: units that fall silent together are not probed together
}

// patience is how many MaxTimeouts lie between two probes that wait that long: 0.2 % of air time for a unit that came back slower.
const patience = 500

// trial is how many answers after the first show that a unit is really back.
const trial = 4

// Breaker judges one unit by its transactions. Closed, every request may go. After Failures transactions without an answer it
// opens: one probe per back-off, which doubles from Base to Cap, with a short timeout. Any answer closes it, on trial: until a
// few more have come one failure opens it again, with a longer back-off each time, so that a unit that flaps costs
// no more than one that is silent.
// A Breaker is a plain value: a copy is a snapshot, and equal histories make equal breakers.
type Breaker struct {
	config   BreakerConfig
	failures int // in a row, probes included
	trial    int // closed: answers still needed before failures are tolerated again
	relapses int // trials that failed in a row
	open     bool
	probing  bool          // a probe was allowed and has not been observed
	attempt  int           // how often the back-off has doubled
	until    time.Duration // open: no probe before
	slow     bool          // the next probe waits MaxTimeout
	slowFrom time.Duration // and so does the first one from here on
	latency  latency
	seed     uint64
}

// NewBreaker returns a closed breaker that has learned nothing.
func NewBreaker(config BreakerConfig) Breaker {
	or := func(d *time.Duration, byDefault time.Duration) {
		if *d <= 0 {
			*d = byDefault
		}
	}
	if config.Failures <= 0 {
		config.Failures = 3
	}
	if !(config.Sigmas > 0) {
		config.Sigmas = 4
	}
	switch {
	case config.Jitter == 0 || math.IsNaN(config.Jitter):
		config.Jitter = 0.2
	case config.Jitter < 0:
		config.Jitter = 0
	}
	config.Jitter = min(config.Jitter, 0.5)
	or(&config.MinTimeout, 50*time.Millisecond)
	or(&config.MaxTimeout, time.Second)
	or(&config.Base, time.Second)
	or(&config.Cap, time.Minute)
	or(&config.Probe, 100*time.Millisecond)
	config.MaxTimeout = max(config.MaxTimeout, config.MinTimeout)
	config.Cap = max(config.Cap, config.Base)
	return Breaker{config: config, seed: config.Seed}
}

// Allow says whether a request may go to the unit now. While the breaker is open at most one may per back-off: it is a probe,
// and it is spent by being allowed, whether or not its outcome is ever observed. A probe that merged into one still queued is the
// same probe: only the outcome of the one that was sent is observed.
func (b *Breaker) Allow(now time.Duration) (probe, ok bool) {
	if !b.open {
		return false, true
	}
	if now < b.until {
		return false, false
	}
	b.slow = b.slow || now >= b.slowFrom
	b.probing = true
	b.until = after(now, b.backoff())
	return true, true
}

// Timeout returns how long the next request, or the probe just allowed, waits for its answer. Closed, it grows with the
// failures in a row: the last one before the breaker opens waits MaxTimeout, so that a slow unit is not taken for a silent one.
func (b *Breaker) Timeout() time.Duration {
	c := b.config
	learned := b.learned()
	switch {
	case b.open && b.slow:
		return c.MaxTimeout
	case b.open:
		return b.brief()
	case b.failures > 0 && (b.failures >= c.Failures-1 || learned > c.MaxTimeout>>min(b.failures, 8)):
		return c.MaxTimeout
	default:
		return learned << min(b.failures, 8)
	}
}

// brief is what a probe waits: as long as most answers took, or Probe while nothing is learned.
func (b *Breaker) brief() time.Duration {
	if !b.latency.known {
		return min(b.config.Probe, b.config.MaxTimeout)
	}
	return min(b.learned(), max(b.config.Probe, b.likely(2)))
}

// learned is the mean response time and Sigmas deviations, within the bounds.
func (b *Breaker) learned() time.Duration {
	if !b.latency.known {
		return b.config.MaxTimeout
	}
	return b.likely(b.config.Sigmas)
}

func (b *Breaker) likely(sigmas float64) time.Duration {
	return b.latency.likely(sigmas, b.config.MinTimeout, b.config.MaxTimeout)
}

// Observe counts how a transaction ended. Rtt is the time its answer took, in the terms in which Timeout is applied; it is looked
// at for Answered and Late only.
func (b *Breaker) Observe(outcome Outcome, rtt, now time.Duration) {
	switch outcome {
	case Answered:
		b.latency.learn(rtt, b.config.MaxTimeout)
		b.close()
	case Exception:
		b.close()
	case Late:
		b.latency.learn(rtt, b.config.MaxTimeout)
		b.slow = b.open
	case NoAnswer, Garbled:
		b.fail(now)
	case NotSent:
		b.probing = false
	}
}

func (b *Breaker) close() {
	switch {
	case b.open:
		b.trial = trial
	case b.trial > 1:
		b.trial--
	default:
		b.trial, b.relapses = 0, 0
	}
	b.open, b.probing, b.slow = false, false, false
	b.failures, b.attempt, b.until, b.slowFrom = 0, 0, 0, 0
}

func (b *Breaker) fail(now time.Duration) {
	if b.open && !b.probing { // sent before it opened
		return
	}
	b.failures = min(b.failures+1, math.MaxInt32)
	switch {
	case b.open:
		b.attempt = min(b.attempt+1, most)
	case b.trial > 0:
		b.relapses = min(b.relapses+1, most)
		b.attempt = b.relapses
	case b.failures < b.config.Failures:
		return
	}
	if !b.open || b.slow {
		b.slowFrom = after(now, times(b.config.MaxTimeout, patience))
	}
	b.open, b.probing, b.slow, b.trial = true, false, false, 0
	b.until = max(b.until, after(now, b.backoff()))
}

// Open says whether the unit is quarantined.
func (b *Breaker) Open() bool { return b.open }

// Until returns until when the unit is quarantined, 0 when it is not. At that moment one probe may go.
func (b *Breaker) Until() time.Duration {
	if !b.open {
		return 0
	}
	return b.until
}

// Failures returns the transactions without an answer in a row, probes included.
func (b *Breaker) Failures() int { return b.failures }

// Configure changes the configuration and keeps what was learned and counted; a back-off that runs is cut to the new Cap.
func (b *Breaker) Configure(config BreakerConfig, now time.Duration) {
	b.config = NewBreaker(config).config
	if b.open {
		b.until = min(b.until, after(now, b.config.Cap))
		b.slowFrom = min(b.slowFrom, after(now, times(b.config.MaxTimeout, patience)))
	}
}
