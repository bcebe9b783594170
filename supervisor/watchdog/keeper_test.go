package watchdog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hound is a dog that keeps a diary in the time of its bubble and bites.
type hound struct {
	timeout time.Duration

	mu     sync.Mutex
	begun  time.Time
	armed  time.Time
	petted time.Time
	pets   int
	gap    time.Duration // the longest time between two pets
	said   []string
	stops  int
	armErr error
}

func newHound(timeout time.Duration) *hound { return &hound{timeout: timeout, begun: time.Now()} }

func (h *hound) Arm() (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.armErr != nil {
		return 0, h.armErr
	}
	h.armed, h.petted = time.Now(), time.Now()
	return h.timeout, nil
}

func (h *hound) Pet(status string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pets++
	h.gap = max(h.gap, time.Since(h.petted))
	h.petted = time.Now()
	return nil
}

func (h *hound) Stop() error { h.mu.Lock(); defer h.mu.Unlock(); h.stops++; return nil }

func (h *hound) Stopping() error { return h.Say("STOPPING") }

func (h *hound) Say(text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, text)
	return nil
}

func (h *hound) diary() (pets int, sincePet, gap time.Duration, said string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pets, time.Since(h.petted), h.gap, strings.Join(h.said, "\n")
}

func (h *hound) setArmErr(err error) { h.mu.Lock(); defer h.mu.Unlock(); h.armErr = err }

// tree is a probe whose answer a test changes.
type tree struct {
	mu     sync.Mutex
	answer func(context.Context) (Evidence, error)
	asked  int
}

func (p *tree) set(f func(context.Context) (Evidence, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *tree) probe(ctx context.Context) (Evidence, error) {
	p.mu.Lock()
	f := p.answer
	p.asked++
	p.mu.Unlock()
	return f(ctx)
}

func (p *tree) count() int { p.mu.Lock(); defer p.mu.Unlock(); return p.asked }

func alive(context.Context) (Evidence, error) { return Evidence{Alive: 2}, nil }

func lineless(context.Context) (Evidence, error) {
	return Evidence{Alive: 1, Missing: []Missing{{"field/line", "no progress for 1m"}}}, nil
}

type run struct {
	*Keeper
	hound   *hound
	tree    *tree
	exits   chan Cause
	stop    context.CancelFunc
	stopped chan struct{}
}

func start(t *testing.T, c Config, answer func(context.Context) (Evidence, error)) *run {
	t.Helper()
	r := &run{tree: &tree{answer: answer}, exits: make(chan Cause, 3), stopped: make(chan struct{})}
	if c.Watchdog == nil {
		r.hound = newHound(30 * time.Second)
		c.Watchdog = r.hound
	}
	c.Probe = r.tree.probe
	c.Starved = func(cause Cause) { r.exits <- cause }
	k, err := NewKeeper(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.Keeper, r.stop = k, cancel
	go func() { k.Run(ctx); close(r.stopped) }()
	return r
}

func (r *run) end() { r.stop(); <-r.stopped }

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestKeeperPetsOnEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		pass(10 * time.Minute)
		pets, _, gap, _ := r.hound.diary()
		if pets < 55 || pets > 70 || gap > 11*time.Second {
			t.Errorf("%d pets in 10 min, longest gap %s", pets, gap)
		}
		pass(time.Minute)
		if h := r.Health(); !h.Healthy || h.Phase != "watching" || h.Text != "" || !h.Armed {
			t.Errorf("health %+v", h)
		}
		r.end()
		if r.hound.stops != 1 {
			t.Errorf("stopped %d times", r.hound.stops)
		}
	})
}

func TestKeeperNamesWhoIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		pass(time.Minute)
		r.tree.set(lineless)
		pass(12 * time.Second)
		pets, since, _, said := r.hound.diary()
		if since < 12*time.Second || !strings.Contains(said, "field/line: no progress for 1m") {
			t.Errorf("last pet %s ago, said %q", since, said)
		}
		r.tree.set(alive)
		pass(11 * time.Second)
		if again, _, _, _ := r.hound.diary(); again == pets || r.Health().Phase != "watching" {
			t.Errorf("not petted after recovery: %+v", r.Health())
		}
		r.tree.set(lineless)
		pass(time.Minute)
		pets, _, _, _ = r.hound.diary()
		r.tree.set(alive)
		pass(time.Hour)
		if again, _, _, _ := r.hound.diary(); again != pets {
			t.Error("petted after starving")
		}
		if c := <-r.exits; c.Path != "field/line" || len(r.exits) != 0 {
			t.Errorf("left because of %v", c)
		}
		r.end()
		if r.hound.stops != 0 {
			t.Error("a starving dog was called off")
		}
	})
}

func TestKeeperSurvivesBadProbes(t *testing.T) {
	hang := make(chan struct{})
	probes := map[string]func(context.Context) (Evidence, error){
		"hangs for ever": func(context.Context) (Evidence, error) { <-hang; return Evidence{Alive: 1}, nil },
		"is late":        func(ctx context.Context) (Evidence, error) { <-ctx.Done(); return Evidence{}, ctx.Err() },
		"fails":          func(context.Context) (Evidence, error) { return Evidence{Alive: 9}, errors.New("no bus") },
		"panics":         func(context.Context) (Evidence, error) { panic("boom") },
		"finds nobody":   func(context.Context) (Evidence, error) { return Evidence{}, nil },
		"is stale":       func(context.Context) (Evidence, error) { return Evidence{Alive: 1, Age: time.Hour}, nil },
	}
	for name, bad := range probes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang = make(chan struct{})
				r := start(t, Config{}, alive)
				pass(time.Minute)
				asked := r.tree.count()
				r.tree.set(bad)
				pass(10 * time.Minute)
				_, since, _, said := r.hound.diary()
				if since < 9*time.Minute || !strings.Contains(said, "watchdog: ") {
					t.Errorf("last pet %s ago, said %q", since, said)
				}
				if name == "hangs for ever" && r.tree.count()-asked > maxAbandoned+1 {
					t.Errorf("%d probes left hanging", r.tree.count()-asked)
				}
				if len(r.exits) != 1 {
					t.Errorf("left %d times", len(r.exits))
				}
				close(hang)
				r.end()
			})
		})
	}
}

func TestKeeperForgivesShortHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		for range 20 {
			pass(time.Minute)
			gate := make(chan struct{})
			r.tree.set(func(context.Context) (Evidence, error) { <-gate; return Evidence{Alive: 1}, nil })
			pass(15 * time.Second)
			r.tree.set(alive)
			close(gate)
		}
		pass(time.Minute)
		if _, since, gap, _ := r.hound.diary(); since > 11*time.Second || gap >= 30*time.Second {
			t.Errorf("last pet %s ago, longest gap %s", since, gap)
		}
		r.end()
	})
}

func TestKeeperInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Init: time.Minute}, lineless)
		pass(59 * time.Second)
		if !r.hound.armed.IsZero() || len(r.exits) != 0 {
			t.Error("armed or gone before the init timeout")
		}
		pass(2 * time.Second)
		c := <-r.exits
		if c.Path != "field/line" || !strings.Contains(c.Reason, "within 1m0s of the start") {
			t.Errorf("cause %v", c)
		}
		r.end()
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, lineless)
		pass(20 * time.Second)
		r.tree.set(alive)
		pass(300 * time.Millisecond)
		if r.hound.armed.IsZero() {
			t.Error("not armed soon after the first evidence")
		}
		r.end()
	})
}

func TestKeeperArmsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHound(12 * time.Second)
		h.setArmErr(errors.New("busy"))
		var log bytes.Buffer
		r := start(t, Config{Watchdog: h, Log: slog.New(slog.NewTextHandler(&log, nil))}, alive)
		pass(5 * time.Minute)
		h.setArmErr(nil)
		pass(time.Minute)
		if h := r.Health(); !h.Armed || h.Timeout != 12*time.Second || h.LastPet > 4*time.Second {
			t.Errorf("health %+v", h)
		}
		r.end()
		if n := strings.Count(log.String(), "busy"); n != 1 {
			t.Errorf("the failure was logged %d times", n)
		}
	})
}

func TestKeeperStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Watchdog: None{}}, alive)
		pass(time.Minute)
		r.Starve(Cause{Path: "root", Reason: "nothing left"})
		synctest.Wait()
		if c := <-r.exits; c != (Cause{"root", "nothing left", "watchdog"}) {
			t.Errorf("cause %v", c)
		}
		if got := r.Snooze(time.Hour); got != 0 {
			t.Errorf("snoozes for %s while starving", got)
		}
		r.end()
	})
}

func TestKeeperSnoozeAndHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		pass(time.Minute)
		r.tree.set(lineless)
		if got := r.Snooze(5 * time.Hour); got != MaxSnooze {
			t.Errorf("granted %s", got)
		}
		pass(MaxSnooze)
		if _, since, gap, _ := r.hound.diary(); since > 11*time.Second || gap > 11*time.Second {
			t.Errorf("not petted in the snooze: %s, %s", since, gap)
		}
		pass(time.Minute)
		if len(r.exits) != 0 || r.Health().Phase != "starving" {
			t.Errorf("after the snooze: %+v", r.Health())
		}
		r.end()
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Hold: time.Hour}, alive)
		pass(time.Minute)
		r.Starve(Cause{Path: "root", Reason: "nothing left"})
		r.tree.set(lineless)
		pass(58 * time.Minute)
		if _, since, gap, _ := r.hound.diary(); since > 11*time.Second || gap > 11*time.Second {
			t.Errorf("not petted while held: %s, %s", since, gap)
		}
		if h := r.Health(); !strings.Contains(h.Text, "boot loop") {
			t.Errorf("health %+v", h)
		}
		pass(2 * time.Minute)
		if h := r.Health(); h.Phase != "starving" {
			t.Errorf("health %+v", h)
		}
		r.end()
	})
}

func TestKeeperStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		pass(time.Minute)
		r.Stopping()
		r.tree.set(lineless)
		pass(20 * time.Second)
		if _, since, _, said := r.hound.diary(); since > 11*time.Second || !strings.Contains(said, "STOPPING") {
			t.Errorf("last pet %s ago, said %q", since, said)
		}
		r.end()
		if r.hound.stops != 1 {
			t.Error("not called off")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, alive)
		pass(time.Minute)
		r.Stopping()
		pass(45 * time.Second)
		if h := r.Health(); h.Phase != "starving" || !strings.Contains(h.Text, "the stop took") {
			t.Errorf("health %+v", h)
		}
		r.end()
	})
}
