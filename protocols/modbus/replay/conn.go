package replay

import (
	"io"
	"slices"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/readbuffer"
)

// conn is a connection to a recording. Each Read returns what arrived at one moment.
type conn struct {
	line *Line
	in   *readbuffer.Buffer
}

func newConn(l *Line) *conn {
	return &conn{l, readbuffer.New(0, func(t time.Time, wake func()) { time.AfterFunc(time.Until(t), wake) })}
}

// Write plays the recorded answer to each frame in b.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.in.Err(); err != nil {
		return 0, err
	}
	for frame := range frames(c.line.header.Framing, b) {
		for _, r := range c.line.ask(slices.Clone(frame)) {
			time.AfterFunc(c.line.scaled(r.after), func() { c.hear(r) })
		}
	}
	return len(b), nil
}

// frames splits pipelined frames.
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
	if r.lost {
		c.in.End(io.EOF)
		return
	}
	c.in.Put(r.bytes)
}

// Read implements io.Reader.
func (c *conn) Read(b []byte) (int, error) { return c.in.Read(b) }

// Discard drops what has arrived.
func (c *conn) Discard() error {
	c.in.Discard()
	return nil
}

// SetReadDeadline sets the time at which Read fails.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.SetReadDeadline(t)
	return nil
}

// SetWriteDeadline does nothing: Write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close ends a waiting Read.
func (c *conn) Close() error {
	c.in.Close()
	return nil
}
