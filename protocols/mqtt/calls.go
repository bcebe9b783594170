package mqtt

import (
	"bytes"
	"slices"
	"sync"
)

// Call is a call that a client has made and that is not over.
type Call struct {
	Client ClientInfo
	To     Publish // the publish that it was
	Cancel func()  // any goroutine may call it, also twice
	Lasts  bool    // it has several answers: nothing comes of it when the client has gone
}

// Calls are those of one client. Any goroutine may use them.
type Calls struct {
	mu      sync.Mutex
	open    []*Call
	refused uint64
}

// Add takes one in unless there are most.
func (c *Calls) Add(call *Call, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= most {
		c.refused++
		return false
	}
	c.open = append(c.open, call)
	return true
}

// Remove takes one out; false: it is there no more.
func (c *Calls) Remove(call *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.open, call)
	if i < 0 {
		return false
	}
	if c.open = slices.Delete(c.open, i, i+1); len(c.open) == 0 && cap(c.open) > 8 {
		c.open = nil
	}
	return true
}

// Cancel cancels those that are answered on a topic, of those the ones with that correlation data if there is any.
func (c *Calls) Cancel(topic string, correlation []byte) {
	for _, call := range c.All() {
		if ReplyTopic(call.Client, call.To) == topic && (len(correlation) == 0 || bytes.Equal(correlation, call.To.CorrelationData)) {
			call.Cancel()
		}
	}
}

// Drain takes all out.
func (c *Calls) Drain() []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.open
	c.open = nil
	return all
}

// All are those that are open.
func (c *Calls) All() []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.open)
}

// Open is how many there are.
func (c *Calls) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// Refused is how many were not taken in.
func (c *Calls) Refused() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}
