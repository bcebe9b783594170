package uplink

import (
	"time"

	"gatewayd/protocols/record"
)

// lane is records on their way to the far end, in their order. There are two: what the place in the tracks has come to, and what goes ahead of it.
type lane struct {
	queue
	follow   record.Follow
	filled   bool      // the last reading brought as much as was asked for: there is more
	since    time.Time // when the oldest of what waits for company came
	flushing time.Time // when the next look at it is due
	density  float64   // records per message of the store

	// suspects is how many entries from the oldest on have one among them that the far end refuses without saying which.
	suspects int
	// lone is how often in a row a batch of one and the same record has ended the connection; proofs how often since then one that the far end is known
	// to take has gone through in between. The next batch is that one if probing is set.
	lone    int
	proofs  int
	probing bool
	accused int // number of the entry in question
	// searching is set while it is looked for a record that the far end takes; wary is how many records a batch may have, after it has refused one
	// without saying which; 0: any number.
	searching bool
	wary      int
}

// appetite is how many messages hold about as many records as a batch.
func (l *lane) appetite(batch int) int {
	if l.density == 0 {
		return handful
	}
	return min(max(int(float64(batch)/l.density), 1), most)
}

// came notes that so many messages have brought so many records.
func (l *lane) came(messages, records int) {
	if messages == 0 {
		return
	}
	d := max(float64(records)/float64(messages), 0.01)
	if l.density == 0 {
		l.density = d
	}
	l.density += 0.25 * (d - l.density)
}
