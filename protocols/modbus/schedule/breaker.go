package schedule

import (
	"math"
	"time"
)

// BreakerConfig configures one unit's breaker. Zero values mean the defaults.
type BreakerConfig struct {
	Failures   int           // consecutive transactions without an answer that open it; default 3
	MinTimeout time.Duration // shortest time a request waits for its answer; default 50 ms
	// Longest such time, also used for an unknown unit; default 1 s, never below MinTimeout.
	MaxTimeout time.Duration
	Sigmas     float64       // learned timeout = mean + Sigmas · standard deviation of the response times; default 4
	Base       time.Duration // the first back-off: the unit's poll interval; default 1 s
	Cap        time.Duration // the longest back-off; default 60 s, never below Base
	// Longest wait of a probe while nothing is learned: 100 ms by default, plus the air time of
	// request and answer.
	Probe time.Duration
	// A back-off is shortened at random by up to this fraction, 0 to 0.5; default 0.2, negative:
	// none.
	Jitter float64
	Seed   uint64 // of the jitter, so that units that fall silent together are not probed together
}

// patience is the number of MaxTimeouts between two probes that wait that long: 0.2 % of the air
// time for a unit that may have become slower.
const patience = 500

// trial is the number of answers, after the first one, that show that a unit is really back.
const trial = 4

// Breaker judges one unit by its transactions. While it is closed, every request may be sent. After
// Failures transactions without an answer it opens: it allows one probe per back-off, which doubles
// from Base to Cap, with a short timeout. Any answer closes it, on trial: until a few more answers
// have arrived, one failure opens it again, with a longer back-off each time, so that a flapping
// unit costs no more than a silent one.
//
// A Breaker is a plain value: a copy is a snapshot, and equal histories result in equal breakers.
type Breaker struct {
	config   BreakerConfig
	failures int // consecutive, including probes
	trial    int // closed: answers still needed before failures are tolerated again
	relapses int // consecutive failed trials
	open     bool
	probing  bool          // a probe was allowed and its outcome has not been observed
	attempt  int           // how often the back-off has doubled
	until    time.Duration // open: no probe before that time
	slow     bool          // the next probe waits MaxTimeout
	slowFrom time.Duration // the first probe from that time on also waits MaxTimeout
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

// Allow reports whether a request may be sent to the unit now. While the breaker is open, at most
// one may per back-off: it is a probe, and allowing it uses it up, whether or not its outcome is
// ever observed. If a probe is merged into one that is still queued, the two count as one: only the
// outcome of the one sent is observed.
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

// Timeout returns how long the next request, or the probe just allowed, waits for its answer. While
// the breaker is closed, it grows with consecutive failures: the last one before the breaker opens
// waits MaxTimeout, so that a slow unit is not mistaken for a silent one.
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

// brief returns how long a probe waits: as long as most answers took, or Probe while nothing is
// learned.
func (b *Breaker) brief() time.Duration {
	if !b.latency.known {
		return min(b.config.Probe, b.config.MaxTimeout)
	}
	return min(b.learned(), max(b.config.Probe, b.likely(2)))
}

// learned returns the mean response time plus Sigmas standard deviations, within the bounds.
func (b *Breaker) learned() time.Duration {
	if !b.latency.known {
		return b.config.MaxTimeout
	}
	return b.likely(b.config.Sigmas)
}

func (b *Breaker) likely(sigmas float64) time.Duration {
	return b.latency.likely(sigmas, b.config.MinTimeout, b.config.MaxTimeout)
}

// Observe records the outcome of a transaction. rtt is the response time, measured as Timeout is
// applied; it is used for Answered and Late only.
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

// Open reports whether the unit is quarantined.
func (b *Breaker) Open() bool { return b.open }

// Until returns the end of the unit's quarantine, when one probe may be sent; 0 if it is not
// quarantined.
func (b *Breaker) Until() time.Duration {
	if !b.open {
		return 0
	}
	return b.until
}

// Failures returns the number of consecutive transactions without an answer, including probes.
func (b *Breaker) Failures() int { return b.failures }

// Configure changes the configuration and keeps what was learned and counted. A running back-off is
// shortened to the new Cap.
func (b *Breaker) Configure(config BreakerConfig, now time.Duration) {
	b.config = NewBreaker(config).config
	if b.open {
		b.until = min(b.until, after(now, b.config.Cap))
		b.slowFrom = min(b.slowFrom, after(now, times(b.config.MaxTimeout, patience)))
	}
}
