package schedule

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rota is a line in virtual time on which scan groups are read once per interval, some of them
// shed.
type rota struct {
	queue  *Queue[*turn]
	groups []*turn
	now    time.Duration
	used   time.Duration // by shed groups
}

type turn struct {
	unit   uint8
	every  time.Duration
	took   time.Duration // per request
	n      int
	shed   bool
	due    time.Duration
	left   int
	served time.Duration // when the last scan ended
	worst  time.Duration // between the ends of two scans
	missed int
}

func (r *rota) run(until time.Duration) {
	for r.now < until {
		next := until
		for _, g := range r.groups {
			for ; g.due <= r.now; g.due += g.every {
				r.ask(g)
			}
			next = min(next, g.due)
		}
		item, wait, ok := r.queue.Next(r.now)
		if !ok {
			if wait > 0 {
				next = min(next, r.now+wait)
			}
			r.now = next
			continue
		}
		g := item.Payload
		r.now += g.took
		if g.shed {
			r.used += g.took
		}
		r.queue.Done(item.Unit, r.now, Answered)
		if g.left--; g.left == 0 {
			g.worst, g.served = max(g.worst, r.now-g.served), r.now
		}
	}
}

func (r *rota) ask(g *turn) {
	if g.left > 0 {
		g.missed++
		return
	}
	item := Item[*turn]{Unit: g.unit, Class: Poll, Due: g.due + g.every, Payload: g}
	if g.shed {
		item.Class, item.Due = Shed, g.served
	}
	for range g.n {
		r.queue.Push(item)
	}
	g.left = g.n
}

func drawTurns(t *rapid.T, shed bool, first uint8) []*turn {
	all := make([]*turn, rapid.IntRange(1, 6).Draw(t, "groups"))
	for i := range all {
		g := &turn{
			unit: first + uint8(i)/2, shed: shed, n: rapid.IntRange(1, 5).Draw(t, "requests"),
			took:  time.Duration(rapid.IntRange(5, 50).Draw(t, "ms")) * ms,
			every: time.Duration(rapid.IntRange(10, 100).Draw(t, "every")) * 100 * ms,
		}
		g.due = time.Duration(rapid.IntRange(0, 999).Draw(t, "phase")) * g.every / 1000
		all[i] = g
	}
	return all
}

// Groups that fit keep their interval whatever is shed beside them, and each shed group is read
// again and again.
func TestShedGroupsLeaveTheOthersTheirRhythm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kept, shed := drawTurns(t, false, 1), drawTurns(t, true, 10)
		share := 0.0
		for _, g := range kept {
			share += float64(g.n) * g.took.Seconds() / g.every.Seconds()
		}
		if share > keep {
			t.Skip("they do not fit")
		}
		var all time.Duration
		for _, g := range shed {
			g.every /= 10 // far more than there is time for
			all += time.Duration(g.n) * g.took
		}
		r := &rota{queue: NewQueue[*turn](QueueConfig{}), groups: append(kept, shed...)}
		const span = 3 * time.Minute
		r.run(span)
		for i, g := range kept {
			if g.missed > 0 {
				t.Errorf("group %d of unit %d, once per %s: %d slots missed at %.3f of the time", i, g.unit, g.every, g.missed, share)
			}
		}
		longest := 22*all + 10*time.Second
		for i, g := range shed {
			if worst := max(g.worst, span-g.served); worst > longest {
				t.Errorf("shed group %d is read once per %s, %s are enough", i, worst, longest)
			}
		}
	})
}

// On a line that is full with other groups, each shed group still gets its share.
func TestShedGroupsDoNotStarve(t *testing.T) {
	r := &rota{queue: NewQueue[*turn](QueueConfig{})}
	for unit := range uint8(5) {
		r.groups = append(r.groups, &turn{unit: unit, every: 100 * ms, took: 50 * ms, n: 1})
	}
	for unit := range uint8(5) {
		r.groups = append(r.groups, &turn{unit: 10 + unit, every: time.Second, took: 50 * ms, n: 4, shed: true})
	}
	const span = 10 * time.Minute
	r.run(span)
	for _, g := range r.groups[5:] {
		if worst := max(g.worst, span-g.served); worst > 25*time.Second { // 5 × 4 × 50 ms at one part in twenty: 20 s
			t.Errorf("unit %d is read once per %s", g.unit, worst)
		}
	}
	if share := r.used.Seconds() / span.Seconds(); share < 0.045 || share > 0.06 {
		t.Errorf("what is shed takes %.3f of a full line", share)
	}
}
