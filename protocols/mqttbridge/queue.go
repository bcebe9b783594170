package mqttbridge

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/mqttclient"
)

// Outgoing is a message to be sent.
type Outgoing struct {
	mqttclient.Message           // without its Expiry
	Expires            time.Time // zero: never
}

// MaxInFlightBytes limits what is under way at once: another message is sent while less than that
// is. It is small enough for other messages, such as a command, to get through within seconds on a
// link of 64 kbit/s.
const MaxInFlightBytes = 64 << 10

// Queue holds the messages that have been read from disk and not yet acknowledged by the outside
// broker, in order and in the batches of the disk. Many messages of many batches are under way at
// once. It is not safe for concurrent use.
type Queue struct {
	entries       []entry
	bytes         int    // of all messages
	next          int    // number of the first that is not under way; those before it are under way or done
	inFlight      []int  // numbers of those under way
	inFlightBytes int    // their bytes
	removed       uint64 // messages removed so far
	// Number of the newest message that the broker has accepted, counted from the first ever.
	newest uint64
	last   uint64 // the newest batch ever pushed
}

type entry struct {
	Outgoing
	size    int
	batch   uint64 // batch that ends with this message; 0: none
	done    bool
	outcome <-chan error // where the broker's outcome will arrive
	taken   bool         // accepted by the broker
	again   bool         // refused for now, or accepted ahead of a refused one
	alone   int          // refusals since it last let another message go first
	tries   int          // refusals since the broker accepted one behind it
}

const (
	// maxTries is how often a broker may refuse a message for now although it accepts messages
	// behind it. After that the refusal is taken to be about this message. That the broker accepts
	// messages before it, while its quota lasts, says nothing about this one.
	maxTries = 20
	// maxAlone is the number of refusals after which a message lets the next one go first, because
	// it would block it if only one may be under way.
	maxAlone = 8
)

// Bytes returns the bytes of all messages, including those under way.
func (q *Queue) Bytes() int { return q.bytes }

// InFlightBytes returns the bytes under way.
func (q *Queue) InFlightBytes() int { return q.inFlightBytes }

// Last returns the newest batch ever pushed.
func (q *Queue) Last() uint64 { return q.last }

// Push adds a batch, which may be empty. A batch that was pushed before is ignored, since the disk
// may deliver it again.
func (q *Queue) Push(batch uint64, messages []Outgoing) {
	if batch <= q.last {
		return
	}
	q.last = batch
	for _, l := range messages {
		size := len(l.Topic) + len(l.Payload) + len(l.ContentType) + 16
		for _, u := range l.User {
			size += len(u[0]) + len(u[1])
		}
		q.entries = append(q.entries, entry{Outgoing: l, size: size})
		q.bytes += size
	}
	if len(messages) == 0 {
		q.entries = append(q.entries, entry{done: true})
	}
	q.entries[len(q.entries)-1].batch = batch
}

// Send sends messages in order, at most most at once, until there is no more room. offer must
// return at once, like mqttclient.Client.Offer. Messages that can never be sent are counted in
// refused, expired ones in expired, and both are done; any other error comes from offer, and the
// message is sent the next time.
func (q *Queue) Send(now time.Time, most int, offer func(mqttclient.Message) (<-chan error, error)) (refused, expired int, err error) {
	defer q.rewind()
	passed := false
	for ; q.next < len(q.entries); q.next++ {
		l := &q.entries[q.next]
		if l.done {
			continue
		}
		if len(q.inFlight) == 0 && l.alone >= maxAlone && !passed {
			l.alone, passed = 0, true
			continue
		}
		if !l.Expires.IsZero() && !now.Before(l.Expires) {
			l.done = true
			expired++
			continue
		}
		if len(q.inFlight) >= most || q.inFlightBytes >= MaxInFlightBytes {
			return refused, expired, nil
		}
		m := l.Message
		if !l.Expires.IsZero() {
			m.Expiry = max(l.Expires.Sub(now), time.Second)
		}
		outcome, err := offer(m)
		if permanent(err) {
			l.done = true
			refused++
			continue
		}
		if err != nil {
			return refused, expired, err
		}
		l.outcome = outcome
		q.inFlight = append(q.inFlight, q.next)
		q.inFlightBytes += l.size
	}
	if q.rewind(); q.next < len(q.entries) { // there was no other message to go first
		r, e, err := q.Send(now, most, offer)
		return refused + r, expired + e, err
	}
	return refused, expired, nil
}

// InFlight holds the channels for the outcomes of the messages under way, in order.
type InFlight []<-chan error

// HasRefused reports whether a message waits that the broker has refused for now.
func (q *Queue) HasRefused() bool {
	return slices.ContainsFunc(q.entries, func(l entry) bool { return l.again && !l.done })
}

// InFlight returns what is under way.
func (q *Queue) InFlight() InFlight {
	all := make(InFlight, 0, len(q.inFlight))
	for _, i := range q.inFlight {
		all = append(all, q.entries[i].outcome)
	}
	return all
}

// Take handles the outcomes of the first messages under way. If an outcome says nothing about its
// message, for instance because the connection ended, lost is set: when all other outcomes have
// been taken too, these messages are sent again in order. Messages that the broker refuses for now
// (see Temporary) are also sent again, behind those accepted in the meantime; lost then is that
// refusal, unless there is a worse error.
func (q *Queue) Take(outcomes []error) (sent, refused int, lost error) {
	for i, outcome := range outcomes {
		l := &q.entries[q.inFlight[i]]
		l.outcome = nil
		q.inFlightBytes -= l.size
		switch {
		case permanent(outcome):
			l.done = true
			refused++
		case outcome == nil:
			l.done, l.taken = true, true
			sent++
			if l.QoS > 0 { // otherwise the broker has said nothing
				q.newest = max(q.newest, q.removed+uint64(q.inFlight[i])+1)
			}
			q.retain(q.inFlight[i])
		case Temporary(outcome):
			l.again = true
			l.alone++
			if q.newest > q.removed+uint64(q.inFlight[i])+1 {
				l.tries++
			}
			if l.tries >= maxTries {
				l.done = true
				refused++
			} else if lost == nil {
				lost = outcome
			}
		default:
			lost = outcome
		}
	}
	q.inFlight = q.inFlight[len(outcomes):]
	q.rewind()
	return sent, refused, lost
}

// rewind makes everything that is not done be sent again, once nothing is under way.
func (q *Queue) rewind() {
	if len(q.inFlight) > 0 {
		return
	}
	q.inFlight = nil
	if i := slices.IndexFunc(q.entries[:q.next], func(l entry) bool { return !l.done }); i >= 0 {
		q.next = i
	}
}

// retain ensures that the broker retains the newest message of a topic: if others have overtaken a
// message, the newest of the topic is sent again behind it.
func (q *Queue) retain(i int) {
	if l := &q.entries[i]; !l.again || !l.Retain {
		return
	}
	for k := len(q.entries) - 1; k > i; k-- {
		l := &q.entries[k]
		if !l.Retain || l.Topic != q.entries[i].Topic || l.done && !l.taken {
			continue
		}
		if l.done {
			l.done, l.taken, l.again = false, false, true
		}
		return
	}
}

// Done removes the messages that are done and returns the newest completed batch; 0: none.
func (q *Queue) Done() (batch uint64) {
	n := 0
	for n < q.next && q.entries[n].done {
		q.bytes -= q.entries[n].size
		if b := q.entries[n].batch; b > 0 {
			batch = b
		}
		q.entries[n] = entry{}
		n++
	}
	q.entries = q.entries[n:]
	q.removed += uint64(n)
	q.next -= n
	for i := range q.inFlight {
		q.inFlight[i] -= n
	}
	if len(q.entries) == 0 {
		q.entries = nil
	}
	return batch
}

// Wait waits for the first outcome, or until over is closed, and returns it with those available
// behind it. Empty: over was closed.
func (u InFlight) Wait(over <-chan struct{}) (all []error) {
	select {
	case outcome := <-u[0]:
		all = append(all, outcome)
	case <-over:
		return nil
	}
	for _, next := range u[1:] {
		select {
		case outcome := <-next:
			all = append(all, outcome)
		default:
			return all
		}
	}
	return all
}

// permanent reports whether the broker will never accept the message.
func permanent(err error) bool {
	var refused *mqttclient.RefusedError
	return errors.As(err, &refused) && !Temporary(err) || errors.Is(err, mqttclient.ErrTooLarge) || errors.Is(err, mqttclient.ErrTopic)
}

// Temporary reports whether the broker refuses a message now but may accept it later.
func Temporary(err error) bool {
	var refused *mqttclient.RefusedError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	// Unspecified, implementation specific, packet id in use, quota exceeded.
	case 0x80, 0x83, 0x91, 0x97:
		return true
	}
	return false
}
