package watchdog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Config configures a Keeper. Zero fields take the default.
type Config struct {
	Watchdog Watchdog      // default None
	Probe    Probe         // required
	Book     *Book         // boot record and ledger; nil keeps none
	Timeout  time.Duration // countdown assumed until the Watchdog returns its own; default 30 s, at least 1 s
	Init     time.Duration // without complete evidence by then the boot has failed; default 2 min
	Hold     time.Duration // no starving before then, from Plan; default 0
	Quiet    time.Duration // uninterrupted evidence that makes a boot healthy; default 10 min
	Stop     time.Duration // maximum duration of a clean stop, from Stopping on; default 30 s
	Log      *slog.Logger  // default none

	// Starved is called once when the keeper starves and nothing outside is going to end the
	// process: there is no watchdog, it was not armed yet, or it did not act within twice its
	// countdown. The process should exit with code 1.
	Starved func(Cause)
}

// Keeper pets a Watchdog on evidence. Its methods are safe for concurrent use.
type Keeper struct {
	c     Config
	log   *slog.Logger
	begun time.Time

	mu     sync.Mutex
	state  state
	todo   []action
	wake   chan struct{}
	doomed bool // starving: checked again right before every pet

	said   string
	errors map[verb]string
}

// NewKeeper creates a Keeper. It does no I/O; Init and Hold count from here.
func NewKeeper(c Config) (*Keeper, error) {
	if c.Probe == nil {
		return nil, errors.New("watchdog: a keeper needs a probe")
	}
	if c.Watchdog == nil {
		c.Watchdog = None{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Timeout = min(max(atLeast(c.Timeout, 30*time.Second), time.Second), maxCountdown)
	l := limits{
		init: atLeast(c.Init, 2*time.Minute), hold: max(c.Hold, 0),
		quiet: atLeast(c.Quiet, 10*time.Minute), stop: atLeast(c.Stop, 30*time.Second),
	}
	return &Keeper{
		c: c, log: c.Log, begun: time.Now(), state: begin(l, c.Timeout),
		wake: make(chan struct{}, 1), errors: map[verb]string{},
	}, nil
}

func atLeast(d, byDefault time.Duration) time.Duration {
	if d <= 0 {
		return byDefault
	}
	return d
}

// Run runs the keeper until ctx ends, which is the end of a clean stop: cancel ctx after everything
// else has stopped. Run then disarms the watchdog, unless it is starving, and returns. Call Run
// once.
func (k *Keeper) Run(ctx context.Context) {
	p := newProber(k.c.Probe)
	defer p.stop()
	gap := k.gap()
	clock := time.NewTicker(gap)
	defer clock.Stop()
	k.step(tick{})
	p.start(ctx, k.patience())
	for {
		k.act()
		if g := k.gap(); g != gap {
			gap = g
			clock.Reset(gap)
		}
		select {
		case <-ctx.Done():
			k.end()
			return
		case <-k.wake:
		case a := <-p.answers:
			if event := p.judge(a); event != nil {
				k.step(event)
			}
		case <-clock.C:
			k.beat(ctx, p)
		}
	}
}

// beat starts the next probe, or reports that the last one has not answered.
func (k *Keeper) beat(ctx context.Context, p *prober) {
	k.c.Book.tick()
	switch {
	case p.late(k.patience()):
		k.step(silence{p.give()})
		p.start(ctx, k.patience())
	case !p.asking:
		p.start(ctx, k.patience())
		k.step(tick{})
	default:
		k.step(tick{})
	}
}

// gap returns the time between two probes: a third of the countdown, and less before the first
// evidence, so that READY=1 is sent as soon as the gateway is ready.
func (k *Keeper) gap() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := max(k.state.timeout/3, 10*time.Millisecond)
	if k.state.phase == starting {
		return min(g, 250*time.Millisecond)
	}
	return g
}

// patience returns how long a probe may take.
func (k *Keeper) patience() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(k.state.timeout/3, 10*time.Millisecond)
}

// Starve stops the petting for good: after it returns no further pet is decided (one in progress
// may finish). If the breaker's hold or a snooze is still running, Starve takes effect when that
// ends, and is cancelled by complete evidence for a whole quiet period.
func (k *Keeper) Starve(c Cause) {
	if c.Level == "" {
		c.Level = levelWatchdog
	}
	if c.Path == "" {
		c.Path = keeperPath
	}
	k.step(demand{c})
}

// Snooze keeps petting without evidence for d from now, at most MaxSnooze, for debugging in the
// field; 0 ends it. It returns the time granted, which is 0 if the keeper is already starving.
func (k *Keeper) Snooze(d time.Duration) time.Duration {
	k.step(nap{d})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.doomed {
		return 0
	}
	return min(max(d, 0), MaxSnooze)
}

// Stopping begins a clean stop: it sends STOPPING=1, and petting continues without evidence for at
// most Config.Stop.
func (k *Keeper) Stopping() { k.step(leave{}) }

// Health is a snapshot of a keeper.
type Health struct {
	Phase   string        // starting, watching, stopping, starving
	Text    string        // what is wrong; empty if all is well
	Missing []Missing     // parts that gave no proof at the last probe
	Armed   bool          // the countdown is running
	LastPet time.Duration // since the last pet; since the start if there was none
	Timeout time.Duration // the countdown of the watchdog
	Healthy bool          // a quiet period of evidence has passed
	Snooze  time.Duration // remaining time
	Hold    time.Duration // remaining time
}

// Health returns the state of the keeper.
func (k *Keeper) Health() Health {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, s := k.now(), k.state
	return Health{
		Phase: string(s.phase), Text: s.status(now), Missing: append([]Missing(nil), s.missing...),
		Armed: s.bites, LastPet: now - s.lastPet, Timeout: s.timeout, Healthy: s.healthy,
		Snooze: max(s.snooze-now, 0), Hold: max(s.hold-now, 0),
	}
}

// now returns monotonic time: time.Since ignores the wall clock of begun.
func (k *Keeper) now() time.Duration { return time.Since(k.begun) }

// step decides under the lock; the actions are carried out by the keeper's goroutine.
func (k *Keeper) step(event any) {
	k.mu.Lock()
	next, do := decide(k.state, event, k.now())
	k.state = next
	k.todo = append(k.todo, do...)
	k.doomed = next.phase == starving
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
