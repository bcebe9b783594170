// Package line simulates an RS-485 wire. A client opens it as a serial port (a pseudo-terminal);
// devices attach in the same process. Bytes take as long as on a real wire, simultaneous senders
// garble each other, noise loses bytes and flips bits, and the port can be unplugged. Tests, the
// demo and the bench use it. It knows nothing of the protocol on the wire.
package line

import (
	"fmt"
	"path/filepath"
	"time"

	"gatewayd/protocols/serial"
)

// Options are the properties of a wire. Dir and Name are required, the rest may be zero.
type Options struct {
	Dir  string // existing directory for the link to the port
	Name string // name of the link, e.g. "rs485-1"

	BitsPerChar int  // length of a character on the wire in bits, both directions; 0 means 11, as in Modbus RTU
	Baud        int  // baud rate of the devices in bit/s; 0 means that of the client. If the rates differ by more than 3 %, each side receives garbage
	FIFO        int  // most bytes that a receiver delivers at once, like a UART's trigger level; 0 means 4 ms' worth for the client and whole bursts for devices
	Unpaced     bool // transmission takes no time: each write is a frame of its own and arrives at once
	Echo        bool // the client receives its own bytes, as with adapters that leave the receiver on
	FourWire    bool // devices receive from the client only, not from each other

	Loss float64 // probability that a byte is lost, 0 to 1
	Flip float64 // probability that one bit of a byte is flipped, 0 to 1
	Seed uint64  // seed of the noise: the same seed and traffic give the same noise
}

const (
	defaultBits = 11
	defaultBaud = 19200 // baud rate of a port that no client has set yet
	portion     = 4 * time.Millisecond
)

func (o Options) check() error {
	switch {
	case o.Dir == "" || o.Name == "" || o.Name != filepath.Base(o.Name):
		return fmt.Errorf("line %q: want a directory and a plain name", o.Name)
	case o.BitsPerChar < 0 || o.BitsPerChar > 12:
		return fmt.Errorf("line %s: %d bits per character are not within 0 to 12", o.Name, o.BitsPerChar)
	case o.Baud < 0 || o.FIFO < 0:
		return fmt.Errorf("line %s: negative baud or FIFO", o.Name)
	case !(o.Loss >= 0 && o.Loss <= 1 && o.Flip >= 0 && o.Flip <= 1):
		return fmt.Errorf("line %s: probabilities %v and %v are not within 0 to 1", o.Name, o.Loss, o.Flip)
	}
	return nil
}

// charTime returns the duration of a byte at baud, or 0 if Unpaced.
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

// silence returns t3.5 at baud, or 0 if Unpaced.
func (o Options) silence(baud int) time.Duration {
	if o.Unpaced {
		return 0
	}
	return serial.Silence(baud)
}

// portionOf returns how many of left bytes are delivered together.
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
