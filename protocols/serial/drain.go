package serial

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	drainLook = 50 * time.Millisecond // longest interval between two queries of the driver
	lateWord  = 20 * time.Millisecond // by how much a driver's report that all is sent may be late: a period of an adapter's status reports
)

// Drain waits until everything written is on the wire. The driver reports how much it holds; for
// adapters that hold data without reporting it, the time is computed from the baud rate. A pty has
// no wire: there Drain returns once the other side has the bytes.
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

// queue is a driver's report about the characters that are still to be sent.
type queue struct {
	held  int  // characters in the kernel
	tells bool // whether empty is known
	empty bool // the hardware holds nothing either
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

// wait returns how long to wait before the next query, or 0 if everything is sent. computed is the
// remaining time according to the baud rate. A driver that does not report "empty" is waited for
// until lateWord after that time, then regarded as empty.
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
