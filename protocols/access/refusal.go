package access

import (
	"cmp"
	"slices"
	"sync"
)

// Reasons of a Refusal.
const (
	RefusedStranger    = "stranger"    // it speaks something else, or does not speak in time
	RefusedCrowd       = "crowd"       // all places are taken, or all of one address
	RefusedCredentials = "credentials" // who it is could not be told
	RefusedTopic       = "topic"       // it may not call, say or hear that
	RefusedPacket      = "packet"      // malformed, too large or not allowed at that point
)

// Refusal is what a door has refused for one reason, however often.
type Refusal struct {
	Reason string
	Count  uint64
	// Of the latest one, as far as known. Client is its MQTT client id.
	Remote, Client, Identity, Cause string
}

// Tally counts refusals by reason, of which there are few, so that somebody who is refused a thousand times a second costs no more than one who is
// refused once. Any goroutine may use it.
type Tally struct {
	mu    sync.Mutex
	awake bool // somebody will take
	all   map[string]Refusal
}

// mostCause is how much of a cause is kept, bytes: clients may have written it.
const mostCause = 256

// Add counts one. wake: nobody is about to Take, call somebody.
func (t *Tally) Add(r Refusal) (wake bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]Refusal{}
	}
	r.Count = t.all[r.Reason].Count + 1
	r.Cause = r.Cause[:min(len(r.Cause), mostCause)]
	t.all[r.Reason] = r
	wake = !t.awake
	t.awake = true
	return wake
}

// Take takes what was counted since it was last asked. If it is nothing, whoever adds next is asked to call again; so it is after Asleep.
func (t *Tally) Take() []Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Refusal, 0, len(t.all))
	for _, r := range t.all {
		all = append(all, r)
	}
	t.all, t.awake = nil, len(all) > 0
	slices.SortFunc(all, func(a, b Refusal) int { return cmp.Compare(a.Reason, b.Reason) })
	return all
}

// Asleep says that nobody could be called.
func (t *Tally) Asleep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awake = false
}
