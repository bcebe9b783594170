package mqtt

import (
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// budget is what one client may still send. Only the goroutine that reads from the client uses it.
type budget struct {
	packets, bytes float64 // remaining; below zero: owed
	at             time.Time
}

// budgetBurst is the time whose allowance may be used at once.
const budgetBurst = time.Second

// pay takes one packet of n bytes from a budget of rate packets and size bytes per second (0: no
// limit), and returns how long the client must wait. counts is false for a packet that the broker
// has asked for.
func (b *budget) pay(n, rate, size int, counts bool, now time.Time) time.Duration {
	passed := min(now.Sub(b.at), budgetBurst)
	b.at = now
	var wait time.Duration
	if rate > 0 {
		b.packets = min(b.packets+passed.Seconds()*float64(rate), float64(rate))
		if counts {
			b.packets--
		}
		wait = owed(b.packets, rate)
	}
	if size > 0 {
		b.bytes = min(b.bytes+passed.Seconds()*float64(size), float64(size)) - float64(n)
		wait = max(wait, owed(b.bytes, size))
	}
	return wait
}

func owed(left float64, rate int) time.Duration {
	if left >= 0 {
		return 0
	}
	return time.Duration(-left / float64(rate) * float64(time.Second))
}

// charge charges a client for the packet that begins with fh.
//
//go:noinline
func (s *Server) charge(c *conn, fh *packets.FixedHeader) time.Duration {
	if s.cfg.Rate == 0 && s.cfg.ByteRate == 0 {
		return 0
	}
	answer := fh.Type >= packets.Puback && fh.Type <= packets.Pubcomp
	return c.budget.pay(fh.Remaining+2, s.cfg.Rate, s.cfg.ByteRate, !answer, time.Now())
}

// slow does not read from a client for a while. This affects no one else: the goroutine is the
// client's own, and what the client sends waits at the client.
//
//go:noinline
func (s *Server) slow(cl *mochi.Client, c *conn, wait time.Duration) {
	s.strain(c, SessionThrottled)
	const step = 50 * time.Millisecond
	for ; wait > 0 && !cl.Closed(); wait -= step {
		time.Sleep(min(wait, step))
	}
}
