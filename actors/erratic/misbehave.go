package erratic

import (
	"context"
	"math"
	"time"

	"gatewayd/actors"
)

const (
	workerTime = 100 * time.Millisecond // deadline that its workers miss
	leaks      = 3                      // workers left behind at once
	floodTime  = 2 * time.Second
)

// misbehave does what it was told, once, unless that is for Stopped.
func (e *erratic) misbehave(c *actors.Context) error {
	how := e.how
	if how == "panic-in-stopped" || how == "hang-in-stopped" {
		return nil
	}
	if how != e.cfg.How {
		e.how = e.cfg.How // a command is carried out once
	}
	switch how {
	case "error":
		return errTold
	case "wedged":
		return actors.Wedged(errTold)
	case "broken":
		return actors.Broken(errTold)
	case "panic":
		panic("told to panic")
	case "hang", "slow":
		block(e.long)
	case "hang-in-worker":
		e.ignore(c)
	case "leak":
		for range leaks {
			e.ignore(c)
		}
	case "flood":
		e.flood(c)
	}
	return nil
}

// ignore starts a worker that ignores its deadline.
func (e *erratic) ignore(c *actors.Context) {
	long := e.long
	c.Do(workerTime, func(context.Context) (any, error) {
		block(long)
		return ended{}, nil
	})
}

// flood fills the actor's own mailbox faster than it is emptied. Each message that is handled is
// published on the data leaf.
func (e *erratic) flood(c *actors.Context) {
	post, long := c.Post(), e.long
	if long == 0 {
		long = floodTime
	}
	c.Do(long+time.Second, func(ctx context.Context) (any, error) {
		for end := time.Now().Add(long); time.Now().Before(end) && ctx.Err() == nil; {
			_ = post(flooded{}) // the excess is meant to be shed
		}
		return ended{}, nil
	})
}

// block blocks the mailbox, which no other actor may do.
func block(d time.Duration) {
	if d == 0 {
		d = math.MaxInt64
	}
	time.Sleep(d)
}
