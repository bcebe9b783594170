package uplink

import (
	"time"

	"gatewayd/protocols/record"
)

// lane is a queue of records for the far end, in order, with what is known about them. There are
// two: records from the read position, and fresh records sent ahead of them.
type lane struct {
	queue
	follow   record.Follow
	filled   bool      // the last read returned as many messages as requested, so there are more
	since    time.Time // since when the oldest record waits for its batch to fill up
	flushing time.Time // when the queue is checked next
	density  float64   // records per store message, smoothed

	// suspects is the number of entries, from the oldest on, among which is one that the far end
	// refuses without saying which.
	suspects int
	// soleFailures counts consecutive batches of one and the same record that ended the connection.
	// proofs counts how often since then a record that the far end is known to accept got through
	// in between. If probing is set, the next batch is that record.
	soleFailures int
	proofs       int
	probing      bool
	accused      int // number of the entry under suspicion
	// searching is set during the search for a record that the far end accepts. batchLimit limits
	// the records per batch after the far end has refused one without saying which; 0: no limit.
	searching  bool
	batchLimit int
}

// readSize returns how many messages hold about as many records as a batch.
func (l *lane) readSize(batch int) int {
	if l.density == 0 {
		return firstRead
	}
	return min(max(int(float64(batch)/l.density), 1), most)
}

// came updates the density after a read of messages with that many records.
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
