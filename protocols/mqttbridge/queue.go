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
	taken   int    // letters that were acknowledged
	last    uint64 // the newest batch there ever was
}

type letter struct {
	Letter
	size  int
	batch uint64 // that ends with it; 0: none does
	done  bool
	word  <-chan error // the outside broker's
	tries int          // that it has refused for now
	since int          // letters that it had taken at the first of them
}

// mostTries is how often a broker may refuse a letter for now that takes others
// meanwhile: then it means that letter.
const mostTries = 8

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
	for ; q.next < len(q.letters); q.next++ {
		l := &q.letters[q.next]
		if l.done {
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
	return refused, expired, nil
}

// Underway is where the word on each letter that is under way will come, in their order.
type Underway []<-chan error

// Insists says whether a letter waits that the broker has refused for now.
func (q *Queue) Insists() bool {
	return slices.ContainsFunc(q.letters, func(l letter) bool { return l.tries > 0 && !l.done })
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
// tells if there is nothing worse.
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
			l.done = true
			sent++
			q.taken++
		case ForNow(word):
			if l.tries++; l.tries == 1 {
				l.since = q.taken
			}
			if l.tries >= mostTries && q.taken > l.since {
				l.done = true
				refused++
			} else if lost == nil {
				lost = word
			}
		default:
			lost = word
		}
	}
	if q.under = q.under[len(words):]; len(q.under) == 0 {
		q.under = nil
		for i := range q.letters[:q.next] {
			if !q.letters[i].done {
				q.next = i
				break
			}
		}
	}
	return sent, refused, lost
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
