package line

import (
	"container/heap"
	"time"
)

// An agenda is a list of functions to be called at given times, in order of time and then of entry.
type agenda struct {
	entries entries
	count   uint64
}

type entry struct {
	due   time.Duration
	order uint64
	do    func()
}

func (a *agenda) put(due time.Duration, do func()) {
	a.count++
	heap.Push(&a.entries, entry{due, a.count, do})
}

// next returns when the first entry is due.
func (a *agenda) next() (time.Duration, bool) {
	if len(a.entries) == 0 {
		return 0, false
	}
	return a.entries[0].due, true
}

// take removes and returns the first entry if it is due.
func (a *agenda) take(now time.Duration) (func(), bool) {
	if due, ok := a.next(); !ok || due > now {
		return nil, false
	}
	return heap.Pop(&a.entries).(entry).do, true
}

type entries []entry

func (e entries) Len() int      { return len(e) }
func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)   { *e = append(*e, x.(entry)) }

func (e entries) Less(i, j int) bool {
	return e[i].due < e[j].due || e[i].due == e[j].due && e[i].order < e[j].order
}

func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*e = old[:len(old)-1]
	return last
}
