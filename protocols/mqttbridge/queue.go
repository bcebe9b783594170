package mqttbridge

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/mqttclient"
)

// Letter is a message to be sent.
type Letter struct {
	mqttclient.Message           // without its Expiry
	Expires            time.Time // zero: never
}

// MostBytes limits what is under way at once: another letter is sent while less than that is. It is
// small enough for other messages, such as a command, to get through within seconds on a link of 64
// kbit/s.
const MostBytes = 64 << 10

// Queue holds the letters that have been read from disk and not yet acknowledged by the outside
// broker, in order and in the batches of the disk. Many letters of many batches are under way at
// once. It is not safe for concurrent use.
type Queue struct {
	letters []letter
	bytes   int    // of all letters
	next    int    // number of the first that is not under way; those before it are under way or done
	under   []int  // numbers of those under way
	flying  int    // their bytes
	off     uint64 // letters removed so far
	// Number of the newest letter that the broker has accepted, counted from the first ever.
	newest uint64
	last   uint64 // the newest batch ever pushed
}

type letter struct {
	Letter
	size  int
	batch uint64 // batch that ends with this letter; 0: none
	done  bool
	word  <-chan error // where the broker's outcome will arrive
	taken bool         // accepted by the broker
	again bool         // refused for now, or accepted ahead of a refused one
	alone int          // refusals since it last let another letter go first
	tries int          // refusals since the broker accepted one behind it
}

const (
	// mostTries is how often a broker may refuse a letter for now although it accepts letters
	// behind it. After that the refusal is taken to be about this letter. That the broker accepts
	// letters before it, while its quota lasts, says nothing about this one.
	mostTries = 20
	// mostAlone is the number of refusals after which a letter lets the next one go first, because
	// it would block it if only one may be under way.
	mostAlone = 8
)

// Bytes returns the bytes of all letters, including those under way.
func (q *Queue) Bytes() int { return q.bytes }

// Flying returns the bytes under way.
func (q *Queue) Flying() int { return q.flying }

// Last returns the newest batch ever pushed.
func (q *Queue) Last() uint64 { return q.last }

// Push adds a batch, which may be empty. A batch that was pushed before is ignored, since the disk
// may deliver it again.
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

// Send sends letters in order, at most most at once, until there is no more room. offer must return
// at once, like mqttclient.Client.Offer. Letters that can never be sent are counted in refused,
// expired ones in expired, and both are done; any other error comes from offer, and the letter is
// sent the next time.
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
	if q.rewind(); q.next < len(q.letters) { // there was no other letter to go first
		r, e, err := q.Send(now, most, offer)
		return refused + r, expired + e, err
	}
	return refused, expired, nil
}

// Underway holds the channels for the outcomes of the letters under way, in order.
type Underway []<-chan error

// Insists reports whether a letter waits that the broker has refused for now.
func (q *Queue) Insists() bool {
	return slices.ContainsFunc(q.letters, func(l letter) bool { return l.again && !l.done })
}

// Under returns what is under way.
func (q *Queue) Under() Underway {
	all := make(Underway, 0, len(q.under))
	for _, i := range q.under {
		all = append(all, q.letters[i].word)
	}
	return all
}

// Take handles the outcomes of the first letters under way. If an outcome says nothing about its
// letter, for instance because the connection ended, lost is set: when all other outcomes have been
// taken too, these letters are sent again in order. Letters that the broker refuses for now (see
// ForNow) are also sent again, behind those accepted in the meantime; lost then is that refusal,
// unless there is a worse error.
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
			if l.QoS > 0 { // otherwise the broker has said nothing
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

// rewind makes everything that is not done be sent again, once nothing is under way.
func (q *Queue) rewind() {
	if len(q.under) > 0 {
		return
	}
	q.under = nil
	if i := slices.IndexFunc(q.letters[:q.next], func(l letter) bool { return !l.done }); i >= 0 {
		q.next = i
	}
}

// retain ensures that the broker retains the newest message of a topic: if others have overtaken a
// letter, the newest of the topic is sent again behind it.
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

// Done removes the letters that are done and returns the newest completed batch; 0: none.
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

// Words waits for the first outcome, or until over is closed, and returns it with those available
// behind it. Empty: over was closed.
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

// never reports whether the broker will never accept the message.
func never(err error) bool {
	var refused *mqttclient.Refused
	return errors.As(err, &refused) && !ForNow(err) || errors.Is(err, mqttclient.ErrTooLarge) || errors.Is(err, mqttclient.ErrTopic)
}

// ForNow reports whether the broker refuses a message now but may accept it later.
func ForNow(err error) bool {
	var refused *mqttclient.Refused
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
