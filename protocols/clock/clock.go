// Package clock reads two clocks: the wall clock, which may be wrong and may jump, and the
// monotonic time since boot, which is always right. It decides when the wall clock can be trusted.
package clock

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Reading is the state of both clocks.
type Reading struct {
	Wall         time.Time     // UTC
	Uptime       time.Duration // since boot, including suspended time
	Synchronised bool          // the kernel says that the wall clock is kept right (by NTP)
}

// Read reads the clocks.
func Read() Reading {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // every Linux has it
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return Reading{
		Wall: time.Now().UTC().Round(0), Uptime: time.Duration(ts.Nano()),
		Synchronised: err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0,
	}
}

// Boot returns the id of this boot; if the kernel provides none, a random one in the same form.
func Boot() string {
	if raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return strings.TrimSpace(string(raw))
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// plausible is the earliest time that is accepted as right.
const plausible = 1735689600 // 2025-01-01T00:00:00Z

// Trust decides when the wall clock is right. Once right, it stays so, even if somebody steps it
// later. The zero value accepts any plausible time.
type Trust struct {
	Synchronised bool // accept the clock only if the kernel says that it is kept right
	right        bool
	offset       time.Duration // wall clock minus uptime
	seen         bool
}

// stepped is the change from which a difference counts as a step of the wall clock and not as
// slewing.
const stepped = time.Second

// See handles a reading. It reports whether the clock has become right with it, and by how much it
// was stepped since the last reading.
func (t *Trust) See(r Reading) (becameRight bool, step time.Duration) {
	offset := time.Duration(r.Wall.UnixNano()) - r.Uptime
	if t.seen {
		if step = offset - t.offset; step < stepped && step > -stepped {
			step = 0
		}
	}
	t.seen, t.offset = true, offset
	if t.right || t.Synchronised && !r.Synchronised || r.Wall.Unix() < plausible {
		return false, step
	}
	t.right = true
	return true, step
}

// Right reports whether the clock is right.
func (t *Trust) Right() bool { return t.right }
