package supervisor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// rounds schedules when groups check their children. Groups with the same interval share a timer
// and a wake-up, because there may be hundreds of them.
type rounds struct {
	root *actor.RootContext
	mu   sync.Mutex
	all  map[time.Duration]*round
}

// round holds the groups with one interval. It ends when there are none left.
type round struct {
	timer *time.Timer
	turns map[*turn]struct{}
}

// turn is the membership of one group in a round.
type turn struct {
	group *actor.PID
	every time.Duration
	waits atomic.Bool // the last tick has not been handled yet
}

// join sends group a tick each time every has passed.
func (r *rounds) join(group *actor.PID, every time.Duration) *turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &turn{group: group, every: every}
	one := r.all[every]
	if one == nil {
		one = &round{turns: map[*turn]struct{}{}}
		one.timer = time.AfterFunc(every, func() { r.begin(one, every) })
		if r.all == nil {
			r.all = map[time.Duration]*round{}
		}
		r.all[every] = one
	}
	one.turns[t] = struct{}{}
	return t
}

// leave ends the turns of a group; nil: it has none.
func (r *rounds) leave(t *turn) {
	if t == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.all[t.every]
	if one == nil {
		return
	}
	if delete(one.turns, t); len(one.turns) == 0 {
		one.timer.Stop()
		delete(r.all, t.every)
	}
}

func (r *rounds) begin(one *round, every time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[every] != one { // it has ended meanwhile
		return
	}
	for t := range one.turns {
		if !t.waits.Swap(true) {
			r.root.Send(t.group, ticked{})
		}
	}
	one.timer.Reset(every)
}
