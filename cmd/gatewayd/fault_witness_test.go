package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// witness receives everything the daemon publishes on its bus.
type witness struct {
	r    *running
	mu   sync.Mutex
	scan map[string][]heard // by path
	said []said
	lies []string // good samples with another value than the device holds
}

// heard is one message of samples.
type heard struct {
	arrived  time.Time
	time     time.Time
	sequence uint64
	good     bool
	causes   string
}

// said is one event.
type said struct {
	path, leaf string
	at         time.Time
	text       string
	healed     *actorv1.Healed // of leaf "healed"
}

// watch subscribes a witness.
func (r *running) watch() *witness {
	r.t.Helper()
	w := &witness{r: r, scan: map[string][]heard{}}
	for pattern, fn := range map[string]func(bus.Msg){"gw.fault.data.field.>": w.data, "gw.fault.event.>": w.event} {
		stop, err := r.conn.Subscribe(pattern, fn)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(stop)
	}
	return w
}

func (w *witness) data(m bus.Msg) {
	a, err := bus.ParseSubject(m.Subject)
	s := &samplev1.Samples{}
	if err == nil {
		err = m.Decode(s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.lies = append(w.lies, m.Subject+": "+err.Error())
		return
	}
	h := heard{arrived: time.Now(), time: s.Time.AsTime(), sequence: s.Sequence, good: true}
	u := w.r.site.units[a.Path]
	for _, one := range s.Samples {
		if one.Quality != "" {
			h.good = false
			h.causes += one.Cause + "; "
		}
		if one.Value != nil && u != nil && !u.truth(one) {
			w.lies = append(w.lies, a.Path+": "+one.String())
		}
	}
	w.scan[a.Path] = append(w.scan[a.Path], h)
}

func (w *witness) event(m bus.Msg) {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		return
	}
	e := said{path: a.Path, leaf: a.Leaf, at: time.Now(), text: string(m.Data)}
	if a.Leaf == "healed" {
		e.healed = &actorv1.Healed{}
		_ = m.Decode(e.healed)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, e)
}

// of returns the samples of one unit.
func (w *witness) of(path string) []heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.scan[path])
}

// last returns the newest samples of a unit.
func (w *witness) last(path string) (h heard, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.scan[path]
	if len(all) == 0 {
		return h, false
	}
	return all[len(all)-1], true
}

// good waits until the samples of the units are good and newer than now.
func (w *witness) good(units ...*faultUnit) {
	w.r.t.Helper()
	begin := time.Now()
	for _, u := range units {
		w.r.until(u.path+" is good", func() bool {
			h, ok := w.last(u.path)
			return ok && h.good && h.arrived.After(begin)
		})
	}
}

// told waits for an event.
func (w *witness) told(what string, since time.Time, is func(said) bool) said {
	w.r.t.Helper()
	var found said
	w.r.until(what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.said, func(e said) bool { return !e.at.Before(since) && is(e) })
		if i >= 0 {
			found = w.said[i]
		}
		return i >= 0
	})
	return found
}

// healed waits for an event about the healing of child at one of some levels.
func (w *witness) healed(child string, since time.Time, levels ...string) *actorv1.Healed {
	w.r.t.Helper()
	return w.told(child+" healed by "+strings.Join(levels, " or "), since, func(e said) bool {
		return e.healed != nil && e.healed.Child == child && slices.Contains(levels, e.healed.Level)
	}).healed
}

// honest fails the test if any good sample was wrong.
func (w *witness) honest() {
	w.r.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lies) > 0 {
		w.r.t.Errorf("%d wrong values, first %s", len(w.lies), w.lies[0])
	}
}

// tooBusy is a pause of the machine itself after which slots can no longer be counted exactly. Then
// only gross faults count.
const tooBusy = 40 * time.Millisecond

// undisturbed fails the test if a unit was not polled in every slot since begin, or if its samples
// have a gap.
func (w *witness) undisturbed(begin time.Time, m *metronome, units ...*faultUnit) {
	w.r.t.Helper()
	w.unpolled(begin, m, units...)
	for _, u := range units {
		var before uint64
		n := 0
		for _, h := range w.of(u.path) {
			if h.arrived.Before(begin) {
				continue
			}
			if before != 0 && h.sequence != before+1 {
				w.r.t.Errorf("%s: sequence %d follows %d", u.path, h.sequence, before)
			}
			if !h.good && m.worst(begin) < tooBusy && w.r.waited() < tooBusy {
				w.r.t.Errorf("%s: sequence %d is not good: %s", u.path, h.sequence, h.causes)
			}
			before, n = h.sequence, n+1
		}
		if n == 0 {
			w.r.t.Errorf("%s: no samples", u.path)
		}
	}
	w.honest()
}

// unpolled is undisturbed from the view of the devices alone, whatever has become of the bus.
func (w *witness) unpolled(begin time.Time, m *metronome, units ...*faultUnit) {
	w.r.t.Helper()
	w.r.alive()
	for _, u := range units {
		polls := u.since(begin)
		all, missed, late := slots(polls, u.every)
		pause, waited, span := m.worst(begin), w.r.waited(), time.Since(begin)
		w.r.t.Logf("%s: %d slots, %d missed, %s late at most (the machine itself %s)", u.path, all, missed, late.Round(time.Millisecond), pause.Round(time.Millisecond))
		allowed := int(pause/u.every) + m.stalls(begin, u.every/2)
		if pause >= tooBusy {
			allowed += all / 10
		}
		free := all/10 + 1
		if waited > span/2 { // starved of CPU: only that it never stood still can be checked
			free = all * 3 / 4
		}
		allowed += min(int(waited/u.every), free)
		if want := int(span/u.every) - 2; all+allowed < want {
			w.r.t.Errorf("%s: polled in %d slots, there were %d", u.path, all, want)
		}
		if missed > allowed {
			w.r.t.Errorf("%s: %d of %d slots missed, and the daemon has waited for a processor for %s", u.path, missed, all, waited)
		}
	}
}

// waited returns how long the threads of the daemon have waited for a CPU in total. On an idle
// machine that is some milliseconds.
func (r *running) waited() (d time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", r.cmd.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if f := strings.Fields(string(text)); len(f) > 1 {
			ns, _ := strconv.ParseInt(f[1], 10, 64)
			d += time.Duration(ns)
		}
	}
	return d
}

// state1 returns the health state of an actor; "" if there is none.
func (r *running) state1(path string) string { return r.health(path).GetState() }

func (r *running) health(path string) *actorv1.Health {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // a bus that is stuck is asked again
	defer cancel()
	h := &actorv1.Health{}
	err := r.conn.Last(ctx, bus.Subject("fault", bus.State, path, "health"), func(rec bus.Record) error {
		return bus.Unmarshal(rec.ContentType, rec.Data, h)
	})
	if err != nil {
		return nil
	}
	return h
}

// events returns the history.
func (r *running) events(pattern string) []bus.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), faultWait)
	defer cancel()
	all, err := r.conn.Events(ctx, pattern, 10_000)
	if err != nil {
		r.t.Fatalf("events: %v", err)
	}
	return all
}

// metronome measures for how long the machine itself stalls all processes. What this nearly idle
// process cannot do in time is not the daemon's fault.
type metronome struct {
	mu   sync.Mutex
	beat time.Time
	late []lapse
}

type lapse struct {
	at   time.Time
	long time.Duration
}

func startMetronome(t *testing.T) *metronome {
	const every = 5 * time.Millisecond
	m := &metronome{beat: time.Now()}
	clock, end := time.NewTicker(every), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-clock.C:
			}
			now := time.Now()
			if d := now.Sub(m.beat) - every; d > every {
				m.mu.Lock()
				m.late = append(m.late, lapse{now, d})
				m.mu.Unlock()
			}
			m.beat = now
		}
	}()
	t.Cleanup(func() { clock.Stop(); close(end); <-done })
	return m
}

func (m *metronome) worst(since time.Time) (d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.late {
		if l.at.After(since) {
			d = max(d, l.long)
		}
	}
	return d
}

// stalls counts the stalls longer than d.
func (m *metronome) stalls(since time.Time, d time.Duration) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.late {
		if l.at.After(since) && l.long > d {
			n++
		}
	}
	return n
}
