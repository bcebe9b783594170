package bus

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Messages of classes data, event and state are published on the gateway's own connection only;
// accounts keep everybody else from publishing them. Listeners in this process therefore receive
// them directly: through the server each message would be parsed twice more, and copied for each
// listener.

// LocalMsg is a published message as a listener in this process receives it.
type LocalMsg struct {
	Subject, ContentType string
	Data                 []byte // must not be modified

	buffer *SharedBuffer
}

// Buffer returns the buffer of the message.
func (o LocalMsg) Buffer() *SharedBuffer { return o.buffer }

// SharedBuffer is a buffer shared by its holders. It is reused when all of them have called Done; a
// buffer that a holder never releases is not reused.
type SharedBuffer struct {
	data    []byte
	holders atomic.Int32
	home    *sync.Pool
}

// Done releases the buffer, once for each holder. It may be called on nil.
func (l *SharedBuffer) Done() {
	if l != nil && l.holders.Add(-1) == 0 && cap(l.data) <= largestBuffer {
		l.home.Put(l)
	}
}

func (c *Conn) shared() *SharedBuffer {
	l, _ := c.buffers.Get().(*SharedBuffer)
	if l == nil {
		l = &SharedBuffer{home: &c.buffers}
	}
	l.holders.Store(1)
	return l
}

// listener is one call of SubscribeLocal.
type listener struct {
	hear   func(LocalMsg)
	closed atomic.Bool
}

// SubscribeLocal calls hear for every message that this process publishes under pattern, in the
// publishing goroutine and in order: hear must not block. ok is false if others may publish under
// pattern as well, and on a dialled connection; use Subscribe then.
func (c *Conn) SubscribeLocal(pattern string, hear func(LocalMsg)) (stop func(), ok bool) {
	if !c.alone(pattern) {
		return nil, false
	}
	e := &listener{hear: hear}
	if c.listeners.Insert(pattern, e) != nil {
		return nil, false
	}
	return func() {
		if !e.closed.Swap(true) {
			_ = c.listeners.Remove(pattern, e)
		}
	}, true
}

// alone reports whether only this connection may publish under pattern.
func (c *Conn) alone(pattern string) bool {
	rest, own := strings.CutPrefix(pattern, c.own)
	class, _, below := strings.Cut(rest, ".")
	return c.own != "" && own && below && slices.Contains([]Class{Data, Event, State}, Class(class))
}

// tell delivers a message to the listeners. Its data is in l; without l it belongs to the caller
// and the listeners get a copy.
func (c *Conn) tell(subject, typ string, data []byte, l *SharedBuffer) {
	if c.listeners == nil {
		return
	}
	var room [8]*listener
	found := room[:0]
	c.listeners.Match(subject, func(e *listener) { found = append(found, e) })
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
		e.hear(LocalMsg{subject, typ, data, l})
	}
}
