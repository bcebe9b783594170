package access

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Authorizer judges calls by the present policy, whatever listener they came through. It is safe
// for concurrent use. Without a policy it judges no calls: a listener has admitted the caller.
type Authorizer struct {
	policy  atomic.Pointer[Policy]
	mu      sync.Mutex
	buckets map[string]bucket // by name
}

// Errors of Authorize in addition to those of Policy.
var (
	ErrDenied = errors.New("no role allows it, or one denies it")
	ErrRate   = errors.New("too many calls")
)

// Set puts a policy in force.
func (c *Authorizer) Set(p *Policy) {
	c.policy.Store(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.buckets {
		if p.all[name] == nil {
			delete(c.buckets, name)
		}
	}
}

// Valid returns why the credentials with which an identity was admitted are no longer valid; nil:
// they are, or another policy has admitted it.
func (c *Authorizer) Valid(id *Identity, now time.Time) error {
	p := c.policy.Load()
	if p == nil || p.keeper != id.keeper {
		return nil
	}
	_, err := p.same(id, now)
	return err
}

// Authorize returns why an identity may not call topic; nil: it may, or it belongs to another
// policy. A call that has waited was counted when it arrived.
func (c *Authorizer) Authorize(name, topic string, waited bool, now time.Time) error {
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
		return fmt.Errorf("%w: at most %g per second, %g at once", ErrRate, id.cred.Rate, most(id.cred.Rate, id.cred.Burst))
	}
	return nil
}

// bucket is a token bucket for calls, as of a moment.
type bucket struct {
	left float64
	at   time.Time // zero: never used, so it is full
}

// take takes a token, if there is one. The bucket gains rate tokens per second and holds burst.
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

// most returns the size of a bucket: burst, or the tokens of one second, and at least one.
func most(rate, burst float64) float64 {
	if burst <= 0 {
		burst = rate
	}
	return max(burst, 1)
}
