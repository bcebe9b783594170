package mqtt

import (
	"bytes"
	"slices"
	"sync"
)

// Call is an open call of a client.
type Call struct {
	Client ClientInfo
	To     Publish // the PUBLISH with the request
	Cancel func()  // any goroutine may call it, more than once
	Lasts  bool    // a call with several answers, which is useless once the client is gone
}

// Calls are the open calls of one client. It is safe for concurrent use.
type Calls struct {
	mu      sync.Mutex
	open    []*Call
	refused uint64
}

// Add adds a call. It returns false if there are already most calls.
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

// Remove removes a call. It returns false if the call is not open any more.
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

// Cancel cancels the calls that are answered on a topic; if correlation is not empty, only those
// with that correlation data.
func (c *Calls) Cancel(topic string, correlation []byte) {
	for _, call := range c.All() {
		if ReplyTopic(call.Client, call.To) == topic && (len(correlation) == 0 || bytes.Equal(correlation, call.To.CorrelationData)) {
			call.Cancel()
		}
	}
}

// Drain removes and returns all calls.
func (c *Calls) Drain() []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.open
	c.open = nil
	return all
}

// All returns the open calls.
func (c *Calls) All() []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.open)
}

// Open returns the number of open calls.
func (c *Calls) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// Refused returns how many calls were not added.
func (c *Calls) Refused() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}
