package watchdog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Config says how a keeper keeps its dog. Zero fields take the default.
type Config struct {
	Dog     Dog           // default None
	Probe   Probe         // required
	Book    *Book         // boot record and ledger; nil keeps none
	Timeout time.Duration // countdown assumed until the dog tells its own; default 30 s, at least 1 s
	Init    time.Duration // without complete evidence by then the boot has failed; default 2 min
	Hold    time.Duration // no starving before then, from Plan; default 0
	Quiet   time.Duration // unbroken evidence that makes a boot healthy; default 10 min
	Stop    time.Duration // bound of a clean stop, from Stopping on; default 30 s
	Log     *slog.Logger  // default none

	// Starved is called once when the keeper starves and nothing outside is
	// going to end the process: there is no dog, it was not armed yet, or it did
	// not bite in twice its time. The process should exit with code 1.
	Starved func(Cause)
}

// Keeper pets a dog on evidence. Its methods are safe for concurrent use.
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

// NewKeeper does no I/O; the time to Init and Hold counts from here.
func NewKeeper(c Config) (*Keeper, error) {
	if c.Probe == nil {
		return nil, errors.New("watchdog: a keeper needs a probe")
	}
	if c.Dog == nil {
		c.Dog = None{}
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

// Run keeps the dog until ctx ends, which is the end of a clean stop: call it
// off after everything else has stopped. Then the dog is disarmed, unless it is
// starving. Run returns only then; call it once.
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

// beat asks again, or says that the last question is still open.
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

// gap is the time between two probes: a third of the countdown, and faster
// before the first evidence, so that READY=1 comes when the gateway is ready.
func (k *Keeper) gap() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := max(k.state.timeout/3, 10*time.Millisecond)
	if k.state.phase == starting {
		return min(g, 250*time.Millisecond)
	}
	return g
}

// patience is how long a probe may take.
func (k *Keeper) patience() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(k.state.timeout/3, 10*time.Millisecond)
}

// Starve stops the petting for good: once it returns no pet is decided any more
// (one under way may finish), unless the breaker's hold or a snooze still runs. Then it takes effect when that ends,
// and is forgotten if there was complete evidence for a whole quiet period.
func (k *Keeper) Starve(c Cause) {
	if c.Level == "" {
		c.Level = levelWatchdog
	}
	if c.Path == "" {
		c.Path = keeperPath
	}
	k.step(demand{c})
}

// Snooze keeps petting without evidence for d from now, at most MaxSnooze, for
// debugging in the field; 0 ends it. It returns the time granted, which is 0
// when the dog starves already.
func (k *Keeper) Snooze(d time.Duration) time.Duration {
	k.step(nap{d})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.doomed {
		return 0
	}
	return min(max(d, 0), MaxSnooze)
}

// Stopping begins a clean stop: STOPPING=1, and the petting goes on without
// evidence for at most Config.Stop.
func (k *Keeper) Stopping() { k.step(leave{}) }

// Health is a snapshot of a keeper.
type Health struct {
	Phase   string        // starting, watching, stopping, starving
	Text    string        // what is not as it should be; empty when all is well
	Missing []Missing     // who gave no proof at the last probe
	Armed   bool          // the dog counts
	LastPet time.Duration // since the last pet; since the start if there was none
	Timeout time.Duration // the dog's countdown
	Healthy bool          // a quiet period of evidence has passed
	Snooze  time.Duration // what is left of it
	Hold    time.Duration // what is left of it
}

// Health tells how the dog is kept.
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

// now is monotonic: time.Since never looks at the wall clock of begun.
func (k *Keeper) now() time.Duration { return time.Since(k.begun) }

// step decides under the lock; the actions wait for the keeper's goroutine.
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
