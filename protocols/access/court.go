package access

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Court judges calls by the policy of the moment, whatever door they came through. Any goroutine may ask. Without a policy it judges nobody: who has
// come in is known to a door.
type Court struct {
	policy  atomic.Pointer[Policy]
	mu      sync.Mutex
	buckets map[string]bucket // by name
}

// Errors of Judge besides those of Policy.
var (
	ErrDenied = errors.New("none of its roles allows it, or one denies it")
	ErrRate   = errors.New("too many calls")
)

// Set puts a policy in force.
func (c *Court) Set(p *Policy) {
	c.policy.Store(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.buckets {
		if p.all[name] == nil {
			delete(c.buckets, name)
		}
	}
}

// Stands tells why what somebody was let in by no longer proves who he is; nil: it does, or another policy has let him in.
func (c *Court) Stands(id *Identity, now time.Time) error {
	p := c.policy.Load()
	if p == nil || p.keeper != id.keeper {
		return nil
	}
	_, err := p.same(id, now)
	return err
}

// Judge tells why an identity may not call topic; nil: it may, or another policy knows it. A call that has waited was counted when it came.
func (c *Court) Judge(name, topic string, waited bool, now time.Time) error {
	p := c.policy.Load()
	if p == nil || p.all[name] == nil {
		return nil
	}
	id, err := p.all[name].inForce(now)
	switch {
	case err != nil:
		return err
	case !id.May(topic):
		return ErrDenied
	case waited || id.cred.Rate <= 0:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buckets == nil {
		c.buckets = map[string]bucket{}
	}
	b, ok := c.buckets[name].take(id.cred.Rate, id.cred.Burst, now)
	c.buckets[name] = b
	if !ok {
		return fmt.Errorf("%w: it may make %g in a second, %g at once", ErrRate, id.cred.Rate, most(id.cred.Rate, id.cred.Burst))
	}
	return nil
}

// bucket holds what somebody may still do at once (a token bucket, as of a moment).
type bucket struct {
	left float64
	at   time.Time // zero: it has never been used and is full
}

// take takes one out, if there is one; rate come in a second, and burst is what it holds.
func (b bucket) take(rate, burst float64, now time.Time) (bucket, bool) {
	full := most(rate, burst)
	if b.at.IsZero() {
		b.left = full
	} else if gone := now.Sub(b.at).Seconds(); gone > 0 {
		b.left = min(full, b.left+gone*rate)
	}
	b.at = now
	if b.left < 1 {
		return b, false
	}
	b.left--
	return b, true
}

// most is what a bucket holds: burst, or what comes in a second, and one at least.
func most(rate, burst float64) float64 {
	if burst <= 0 {
		burst = rate
	}
	return max(burst, 1)
}
