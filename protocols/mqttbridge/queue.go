package mqttbridge

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/mqttclient"
)

// Letter is a message on its way out.
type Letter struct {
	mqttclient.Message           // but for Expiry
	Expires            time.Time // when it is of no use any more; zero: never
}

// MostBytes is how much is under way at once: while it is less, one more letter is
// sent. It is little enough for what comes in between, such as a command, to pass on a
// link of 64 kbit/s within seconds.
const MostBytes = 64 << 10

// Queue is what has been read from disk and is not acknowledged by the outside broker,
// in order and batch by batch as it is on disk. Many letters are under way at once,
// also of many batches. One goroutine uses it.
type Queue struct {
	letters []letter
	bytes   int    // of all of them
	next    int    // number of the first that is not under way; all before it are, or are done with
	under   []int  // numbers of those under way
	flying  int    // their bytes
	off     uint64 // letters that were taken off
	newest  uint64 // letters up to the newest that the broker has taken, of all there ever were
	last    uint64 // the newest batch there ever was
}

type letter struct {
	Letter
	size  int
	batch uint64 // that ends with it; 0: none does
	done  bool
	word  <-chan error // the outside broker's
	taken bool         // by the outside broker
	again bool         // it was refused for now, or taken before what was
	alone int          // times that it was refused, since it let another go first
	tries int          // times that it was refused, since the broker has taken one behind it
}

const (
	// mostTries is how often a broker may refuse a letter for now that has taken one
	// behind it: then it means that letter. That it takes those before it while its
	// quota lasts says nothing of this one.
	mostTries = 20
	// mostAlone is after how many refusals a letter lets the next one go first, which it
	// is in the way of if there is room for one only.
	mostAlone = 8
)

// Bytes is how much waits, with what is under way.
func (q *Queue) Bytes() int { return q.bytes }

// Flying is how many bytes are under way.
func (q *Queue) Flying() int { return q.flying }

// Last is the newest batch there ever was.
func (q *Queue) Last() uint64 { return q.last }

// Push adds a batch, which may be empty. One that has been there before is left out:
// disks deliver some once more.
func (q *Queue) Push(batch uint64, letters []Letter) {
	if batch <= q.last {
		return
	}
	q.last = batch
	for _, l := range letters {
		size := len(l.Topic) + len(l.Payload) + len(l.ContentType) + 16
		for _, u := range l.User {
			size += len(u[0]) + len(u[1])
		}
		q.letters = append(q.letters, letter{Letter: l, size: size})
		q.bytes += size
	}
	if len(letters) == 0 {
		q.letters = append(q.letters, letter{done: true})
	}
	q.letters[len(q.letters)-1].batch = batch
}

// Send has letters go out in their order, at most so many at once, until there is no
// room for more. offer returns at once, as mqttclient.Client.Offer does. What can never
// be sent is refused, and what is of no use any more expired, and both are done with; any
// other error is offer's, and the letter is next another time.
func (q *Queue) Send(now time.Time, most int, offer func(mqttclient.Message) (<-chan error, error)) (refused, expired int, err error) {
	defer q.rewind()
	passed := false
	for ; q.next < len(q.letters); q.next++ {
		l := &q.letters[q.next]
		if l.done {
			continue
		}
		if len(q.under) == 0 && l.alone >= mostAlone && !passed {
			l.alone, passed = 0, true
			continue
		}
		if !l.Expires.IsZero() && !now.Before(l.Expires) {
			l.done = true
			expired++
			continue
		}
		if len(q.under) >= most || q.flying >= MostBytes {
			return refused, expired, nil
		}
		m := l.Message
		if !l.Expires.IsZero() {
			m.Expiry = max(l.Expires.Sub(now), time.Second)
		}
		word, err := offer(m)
		if never(err) {
			l.done = true
			refused++
			continue
		}
		if err != nil {
			return refused, expired, err
		}
		l.word = word
		q.under = append(q.under, q.next)
		q.flying += l.size
	}
	if q.rewind(); q.next < len(q.letters) { // there was no other to go first
		r, e, err := q.Send(now, most, offer)
		return refused + r, expired + e, err
	}
	return refused, expired, nil
}

// Underway is where the word on each letter that is under way will come, in their order.
type Underway []<-chan error

// Insists says whether a letter waits that the broker has refused for now.
func (q *Queue) Insists() bool {
	return slices.ContainsFunc(q.letters, func(l letter) bool { return l.again && !l.done })
}

// Under is what is under way.
func (q *Queue) Under() Underway {
	all := make(Underway, 0, len(q.under))
	for _, i := range q.under {
		all = append(all, q.letters[i].word)
	}
	return all
}

// Take takes in the words on the first of those under way. After any that says nothing
// of its letter, as the end of a connection does not, lost is set: when all the others
// that are under way have been taken in as well, these letters go out once more, in
// their order. So do those that the broker refuses for now (see ForNow), of which lost
// tells if there is nothing worse, behind those that it has taken meanwhile.
func (q *Queue) Take(words []error) (sent, refused int, lost error) {
	for i, word := range words {
		l := &q.letters[q.under[i]]
		l.word = nil
		q.flying -= l.size
		switch {
		case never(word):
			l.done = true
			refused++
		case word == nil:
			l.done, l.taken = true, true
			sent++
			if l.QoS > 0 { // else the broker has said nothing
				q.newest = max(q.newest, q.off+uint64(q.under[i])+1)
			}
			q.retain(q.under[i])
		case ForNow(word):
			l.again = true
			l.alone++
			if q.newest > q.off+uint64(q.under[i])+1 {
				l.tries++
			}
			if l.tries >= mostTries {
				l.done = true
				refused++
			} else if lost == nil {
				lost = word
			}
		default:
			lost = word
		}
	}
	q.under = q.under[len(words):]
	q.rewind()
	return sent, refused, lost
}

// rewind has all that is not done with go out once more, when nothing is under way.
func (q *Queue) rewind() {
	if len(q.under) > 0 {
		return
	}
	q.under = nil
	if i := slices.IndexFunc(q.letters[:q.next], func(l letter) bool { return !l.done }); i >= 0 {
		q.next = i
	}
}

// retain sees to it that a letter that others have passed is not what the broker keeps
// of its topic: the newest of these goes out once more behind it.
func (q *Queue) retain(i int) {
	if l := &q.letters[i]; !l.again || !l.Retain {
		return
	}
	for k := len(q.letters) - 1; k > i; k-- {
		l := &q.letters[k]
		if !l.Retain || l.Topic != q.letters[i].Topic || l.done && !l.taken {
			continue
		}
		if l.done {
			l.done, l.taken, l.again = false, false, true
		}
		return
	}
}

// Done takes off what is done with, and returns the newest batch that is; 0: none.
func (q *Queue) Done() (batch uint64) {
	n := 0
	for n < q.next && q.letters[n].done {
		q.bytes -= q.letters[n].size
		if b := q.letters[n].batch; b > 0 {
			batch = b
		}
		q.letters[n] = letter{}
		n++
	}
	q.letters = q.letters[n:]
	q.off += uint64(n)
	q.next -= n
	for i := range q.under {
		q.under[i] -= n
	}
	if len(q.letters) == 0 {
		q.letters = nil
	}
	return batch
}

// Words waits for the first word, or until over, and takes those that have come behind
// it. None: it was over.
func (u Underway) Words(over <-chan struct{}) (all []error) {
	select {
	case word := <-u[0]:
		all = append(all, word)
	case <-over:
		return nil
	}
	for _, next := range u[1:] {
		select {
		case word := <-next:
			all = append(all, word)
		default:
			return all
		}
	}
	return all
}

// never says that the broker will not take a message another time either.
func never(err error) bool {
	var refused *mqttclient.Refused
	return errors.As(err, &refused) && !ForNow(err) || errors.Is(err, mqttclient.ErrTooLarge) || errors.Is(err, mqttclient.ErrTopic)
}

// ForNow says that the broker does not take a message now and may another time.
func ForNow(err error) bool {
	var refused *mqttclient.Refused
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case 0x80, 0x83, 0x91, 0x97: // unspecified, of its own, packet id in use, quota exceeded
		return true
	}
	return false
}
