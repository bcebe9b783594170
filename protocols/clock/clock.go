// Package clock tells the time by two clocks: the wall clock, which may be wrong and may jump, and the monotonic time since the boot,
// which is neither; and when the first can be believed.
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

// Reading is what both clocks show.
type Reading struct {
	Wall         time.Time     // UTC
	Uptime       time.Duration // since the boot, suspended time included
	Synchronised bool          // the kernel says that something (NTP) keeps the wall clock right
}

// Read reads the clocks.
func Read() Reading {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // which every Linux has
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return Reading{
		Wall: time.Now().UTC().Round(0), Uptime: time.Duration(ts.Nano()),
		Synchronised: err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0,
	}
}

// Boot is the id of this boot; where the kernel tells none, a random one in the same form.
func Boot() string {
	if raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return strings.TrimSpace(string(raw))
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// plausible is a time before which no gateway of this make was switched on.
const plausible = 1735689600 // 2025-01-01T00:00:00Z

// Trust decides when the wall clock is right. Once it was, it stays so: who steps a clock that was right knows why. The zero value
// believes any plausible time.
type Trust struct {
	Synchronised bool // believe nothing but the kernel's word that the clock is kept right
	right        bool
	offset       time.Duration // wall clock minus uptime
	seen         bool
}

// stepped is what counts as a step of the wall clock and not as its being slewed.
const stepped = time.Second

// See takes a reading and says whether the clock has become right with it, and by how much it was stepped since the last one.
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

// Right says whether the clock is right.
func (t *Trust) Right() bool { return t.right }
