package replay

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"gatewayd/protocols/modbus"
)

// conn is a connection to a recording: each Read gives what came at a time.
type conn struct {
	line *Line

	mu       sync.Mutex
	arrived  sync.Cond
	came     [][]byte
	err      error // why there will be no more
	deadline time.Time
	alarm    *time.Timer
}

func newConn(l *Line) *conn {
	c := &conn{line: l}
	c.arrived.L = &c.mu
	return c
}

// Write asks; each frame of several is asked for itself.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	for frame := range frames(c.line.header.Framing, b) {
		for _, r := range c.line.ask(slices.Clone(frame)) {
			time.AfterFunc(c.line.scaled(r.after), func() { c.hear(r) })
		}
	}
	return len(b), nil
}

// frames takes pipelined frames apart.
func frames(f modbus.Framing, b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for f == modbus.TCP && len(b) >= 6 {
			n := 6 + (int(b[4])<<8 | int(b[5]))
			if n >= len(b) {
				break
			}
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
		yield(b)
	}
}

func (c *conn) hear(r reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.lost && c.err == nil {
		c.err = io.EOF
	} else if c.err == nil {
		c.came = append(c.came, r.bytes)
	}
	c.arrived.Broadcast()
}

// Read implements io.Reader.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err == net.ErrClosed:
			return 0, c.err
		case len(c.came) > 0:
			n := copy(b, c.came[0])
			if c.came[0] = c.came[0][n:]; len(c.came[0]) == 0 {
				c.came = c.came[1:]
			}
			return n, nil
		case c.err != nil:
			return 0, c.err
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.arrived.Wait()
	}
}

// Discard throws away what has come.
func (c *conn) Discard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came = nil
	return nil
}

// SetReadDeadline ends Read at t.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	if !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.arrived.Broadcast()
		})
	}
	c.arrived.Broadcast()
	return nil
}

// SetWriteDeadline does nothing: Write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close ends a running Read.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = net.ErrClosed
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.arrived.Broadcast()
	return nil
}
