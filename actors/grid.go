package actors

import (
	"hash/fnv"
	"sync"
	"time"
)

// grid produces the ticks of all actors. Ticks at the same moments share a timer and a wake-up.
type grid struct {
	epoch time.Time
	mu    sync.Mutex
	all   map[rhythm]*slots
}

// rhythm is the moments at phase, phase + every, phase + 2 every … of the system's monotonic clock.
type rhythm struct{ every, phase time.Duration }

// slots holds the timers of one rhythm. It ends when there are none.
type slots struct {
	grid   *grid
	rhythm rhythm
	timer  *time.Timer
	next   time.Duration // used by the timer only
	ticks  bag[*Timer]   // guarded by the grid's lock
	now    []*Timer      // used by the timer only
}

// join makes t tick every d from now on.
func (g *grid) join(t *Timer, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := rhythm{d, phase(t.life.cell.path, d)}
	now := time.Since(g.epoch)
	if t.first = now - now%d + r.phase; t.first <= now {
		t.first += d
	}
	s := g.all[r]
	if s == nil {
		s = &slots{grid: g, rhythm: r, next: t.first}
		if g.all == nil {
			g.all = map[rhythm]*slots{}
		}
		g.all[r] = s
		s.timer = time.AfterFunc(s.next-now, s.fire)
	}
	s.ticks.add(t)
	t.slots = s
}

// leave ends the ticks of t.
func (s *slots) leave(t *Timer) {
	s.grid.mu.Lock()
	defer s.grid.mu.Unlock()
	s.ticks.remove(t)
}

// fire runs one slot. The slots of a rhythm never run concurrently.
func (s *slots) fire() {
	g := s.grid
	g.mu.Lock()
	if len(s.ticks) == 0 {
		delete(g.all, s.rhythm)
		g.mu.Unlock()
		return
	}
	s.now = append(s.now[:0], s.ticks...)
	g.mu.Unlock()
	at, every := s.next, s.rhythm.every
	for s.next += every; s.next <= time.Since(g.epoch); s.next += every {
	}
	last := s.next - every
	for _, t := range s.now {
		if t.first <= last { // else it joined after this slot
			t.tick(uint64((last - max(at, t.first)) / every))
		}
	}
	clear(s.now)
	s.timer.Reset(s.next - time.Since(g.epoch))
}

// phases is the number of steps over which rhythms are spread within their period. The fewer there
// are, the more ticks share the wake-ups of everything between a timer and a client's socket. Those
// cost more than the work for each tick.
const phases = 6

// phase returns the offset of an actor's ticks within the period d.
func phase(path string, d time.Duration) time.Duration {
	step := max(d/phases, time.Millisecond)
	h := fnv.New32a()
	_, _ = h.Write([]byte(path))
	return time.Duration(h.Sum32()) % max(d/step, 1) * step
}
