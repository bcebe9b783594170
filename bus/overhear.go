package bus

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// What goes out as data, event or state is said on the gateway's own connection, for accounts keep everybody else from it. Those of
// this process who listen are told at once: through the server each message would be parsed twice more, and copied for each of them.

// Overheard is a message on its way out, as one of this process hears it.
type Overheard struct {
	Subject, ContentType string
	Data                 []byte // nobody changes it

	loan *Loan
}

// Loan is the buffer of a message.
func (o Overheard) Loan() *Loan { return o.loan }

// Loan is a buffer that those who hold it share. It is used again when all of them have said that they are done with it; what one
// keeps, he keeps.
type Loan struct {
	data    []byte
	holders atomic.Int32
	home    *sync.Pool
}

// Done gives the buffer back, once for each who was given it. It may be called on nil.
func (l *Loan) Done() {
	if l != nil && l.holders.Add(-1) == 0 && cap(l.data) <= largestBuffer {
		l.home.Put(l)
	}
}

func (c *Conn) loan() *Loan {
	l, _ := c.buffers.Get().(*Loan)
	if l == nil {
		l = &Loan{home: &c.buffers}
	}
	l.holders.Store(1)
	return l
}

// ear is one who listens.
type ear struct {
	hear   func(Overheard)
	closed atomic.Bool
}

// Overhear calls hear for every message that this process publishes under pattern, in the goroutine that does and in its order: it must
// not block. ok is false where others may publish as well, or on a dialled connection: Subscribe is for that.
func (c *Conn) Overhear(pattern string, hear func(Overheard)) (stop func(), ok bool) {
	if !c.alone(pattern) {
		return nil, false
	}
	e := &ear{hear: hear}
	if c.ears.Insert(pattern, e) != nil {
		return nil, false
	}
	return func() {
		if !e.closed.Swap(true) {
			_ = c.ears.Remove(pattern, e)
		}
	}, true
}

// alone says whether nobody but this connection publishes anything under a pattern.
func (c *Conn) alone(pattern string) bool {
	rest, own := strings.CutPrefix(pattern, c.own)
	class, _, below := strings.Cut(rest, ".")
	return c.own != "" && own && below && slices.Contains([]Class{Data, Event, State}, Class(class))
}

// tell has those hear a message who listen. Its data is in l, or the caller's: then they get a copy.
func (c *Conn) tell(subject, typ string, data []byte, l *Loan) {
	if c.ears == nil {
		return
	}
	var room [8]*ear
	found := room[:0]
	c.ears.Match(subject, func(e *ear) { found = append(found, e) })
	if len(found) == 0 {
		return
	}
	if l == nil {
		data = bytes.Clone(data)
	}
	for _, e := range found {
		if e.closed.Load() {
			continue
		}
		if l != nil {
			l.holders.Add(1)
		}
		e.hear(Overheard{subject, typ, data, l})
	}
}
