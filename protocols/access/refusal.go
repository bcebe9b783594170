package access

import (
	"cmp"
	"slices"
	"sync"
)

// Reasons of a Refusal.
const (
	RefusedStranger    = "stranger"    // the client speaks another protocol, or sends nothing in time
	RefusedCrowd       = "crowd"       // the limit of clients is reached, in all or for one address
	RefusedCredentials = "credentials" // the client could not be authenticated
	RefusedTopic       = "topic"       // the client may not call, publish on or subscribe to that topic
	RefusedPacket      = "packet"      // malformed, too large, or not allowed at that point
)

// Refusal counts what a listener has refused for one reason.
type Refusal struct {
	Reason string
	Count  uint64
	// Of the latest refusal, as far as known. Client is its MQTT client id.
	Remote, Client, Identity, Cause string
}

// Tally counts refusals by reason. There are few reasons, so a client that is refused a thousand
// times a second costs no more than one that is refused once. Tally is safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	awake bool // Take will be called
	all   map[string]Refusal
}

// maxCause is the number of bytes kept of a cause, which may contain text from clients.
const maxCause = 256

// Add counts a refusal. If wake is true, the caller must arrange for a call of Take.
func (t *Tally) Add(r Refusal) (wake bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]Refusal{}
	}
	r.Count = t.all[r.Reason].Count + 1
	r.Cause = r.Cause[:min(len(r.Cause), maxCause)]
	t.all[r.Reason] = r
	wake = !t.awake
	t.awake = true
	return wake
}

// Take returns what was counted since the last call. If there was nothing, the next Add returns
// true; likewise after Asleep.
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

// Asleep tells the Tally that the call of Take could not be arranged.
func (t *Tally) Asleep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awake = false
}
