package serial

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	drainLook = 50 * time.Millisecond // longest time between two looks at the driver
	lateWord  = 20 * time.Millisecond // what a driver's word that all is sent may be late: a period of an adapter's status reports
)

// Drain waits until everything written is on the wire. The driver says what it holds; what an adapter holds without saying is computed
// from the baud rate. A pty has no wire, so there Drain returns once the other side has the bytes.
func (p *Port) Drain(ctx context.Context) error {
	timer, err := NewTimer()
	if err != nil {
		return err
	}
	defer timer.Close()
	for {
		q, err := p.queue()
		if err != nil {
			return p.wrap("drain", err)
		}
		p.mu.Lock()
		char, computed := CharTime(p.cfg.Baud, p.cfg.BitsPerChar()), time.Until(p.sentBy)
		p.mu.Unlock()
		wait := q.wait(char, computed, p.pty)
		if wait <= 0 {
			return nil
		}
		if err := timer.Wait(ctx, wait); err != nil {
			return p.wrap("drain", err)
		}
	}
}

// queue is what a driver says of the characters it is to send.
type queue struct {
	held  int  // characters in the kernel
	tells bool // whether the next is known
	empty bool // nothing is in the hardware either
}

func (p *Port) queue() (q queue, err error) {
	err = p.control(func(fd int) error {
		if q.held, err = unix.IoctlGetInt(fd, unix.TIOCOUTQ); err != nil {
			return err
		}
		if lsr, err := unix.IoctlGetInt(fd, unix.TIOCSERGETLSR); err == nil {
			q.tells, q.empty = true, lsr&unix.TIOCSER_TEMT != 0
		}
		return nil
	})
	return q, err
}

// wait is how long to wait before looking again, 0 if all is sent, when by computation it takes computed more time. A driver that never
// says "empty" is believed until a while after that only.
func (q queue) wait(char, computed time.Duration, pty bool) time.Duration {
	switch {
	case q.held > 0:
		return min(max(time.Duration(q.held)*char, 200*time.Microsecond), drainLook)
	case q.tells && q.empty || pty:
		return 0
	case q.tells && computed+lateWord > 0:
		return max(char, 200*time.Microsecond)
	case q.tells:
		return 0
	}
	return max(computed, 0)
}
