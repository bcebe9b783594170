// Package line is a simulated RS-485 wire: a client opens it as a serial port (a pseudo terminal), devices attach in process. Bytes take
// their time on it as on a real wire, two talkers at once spoil each other, noise loses and flips bits, and the port can be unplugged.
// Tests, the demo and the bench use it; it knows nothing of the protocol spoken.
package line

import (
	"fmt"
	"path/filepath"
	"time"

	"gatewayd/protocols/serial"
)

// Options say what wire it is. Dir and Name are needed, the rest may be zero.
type Options struct {
	Dir  string // existing directory for the link to the port
	Name string // name of the link, e.g. "rs485-1"

	BitsPerChar int  // length of a character on the wire in bits, both directions; 0 means 11, as Modbus RTU has it
	Baud        int  // bit/s the devices are set to; 0 means whatever the client sets. Beyond 3 % apart each side hears garbage
	FIFO        int  // most bytes a receiver hands over at once, as a UART's trigger level; 0 means what fits in 4 ms to the client and all to devices
	Unpaced     bool // no time passes on the wire: each write is a frame of its own and arrives at once
	Echo        bool // the client hears itself, as with adapters that leave the receiver on
	FourWire    bool // devices hear the client only, not each other

	Loss float64 // probability that a byte vanishes, 0 to 1
	Flip float64 // probability that one bit of a byte is flipped, 0 to 1
	Seed uint64  // of the noise: the same seed and traffic give the same noise
}

const (
	defaultBits = 11
	defaultBaud = 19200 // of a port no client has set yet
	portion     = 4 * time.Millisecond
)

func (o Options) check() error {
	switch {
	case o.Dir == "" || o.Name == "" || o.Name != filepath.Base(o.Name):
		return fmt.Errorf("line %q: it needs a directory and a plain name", o.Name)
	case o.BitsPerChar < 0 || o.BitsPerChar > 12:
		return fmt.Errorf("line %s: %d bits per character are not within 0 to 12", o.Name, o.BitsPerChar)
	case o.Baud < 0 || o.FIFO < 0:
		return fmt.Errorf("line %s: negative baud or FIFO", o.Name)
	case !(o.Loss >= 0 && o.Loss <= 1 && o.Flip >= 0 && o.Flip <= 1):
		return fmt.Errorf("line %s: probabilities %v and %v are not within 0 to 1", o.Name, o.Loss, o.Flip)
	}
	return nil
}

// charTime is how long a byte takes at baud; 0 if no time passes.
func (o Options) charTime(baud int) time.Duration {
	if o.Unpaced {
		return 0
	}
	bits := o.BitsPerChar
	if bits == 0 {
		bits = defaultBits
	}
	return serial.CharTime(baud, bits)
}

// silence is t3.5 at baud; 0 if no time passes.
func (o Options) silence(baud int) time.Duration {
	if o.Unpaced {
		return 0
	}
	return serial.Silence(baud)
}

// portionOf is how many of left bytes are handed over together.
func (o Options) portionOf(left int, char time.Duration) int {
	n := left
	switch {
	case o.FIFO > 0:
		n = o.FIFO
	case char > 0:
		n = max(1, int(portion/char))
	}
	return min(n, left)
}
