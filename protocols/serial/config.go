// Package serial opens serial ports with what a gateway needs: any baud rate, RS-485, exclusive
// use, deadlines, and a Close that unblocks Read. It computes character times, waits precisely,
// finds the USB adapter behind a port and notices when it is unplugged and plugged in. It knows
// nothing of the protocol on the wire. It supports Linux only and needs no cgo.
package serial

import (
	"fmt"
	"math"
	"time"
)

// Config holds the settings of a port. The zero values of DataBits, Parity and StopBits mean 8,
// "none" and 1.
type Config struct {
	Path     string // device node or a link to it, preferably in /dev/serial/by-path or by-id
	Baud     int    // bit/s, MinBaud to MaxBaud, any integer that the driver can set to within 2.5 %
	DataBits int    // 5 to 8
	Parity   string // "none", "even" or "odd"
	StopBits int    // 1 or 2
	RS485    *RS485 // nil: no RS-485 mode; the driver's is turned off only if an earlier Config turned it on
}

// RS485 makes the driver switch the direction of a half-duplex transceiver by RTS (Linux
// Documentation/driver-api/serial/serial-rs485).
type RS485 struct {
	RTSOnSend    bool          // level of RTS while sending
	RTSAfterSend bool          // level of RTS otherwise
	RxDuringTx   bool          // receive our own bytes
	DelayBefore  time.Duration // from RTS to the first bit, 0 to 1 s; rounded up to ms, the unit of drivers
	DelayAfter   time.Duration // from the last bit to RTS, 0 to 1 s; rounded up to ms
}

// Range of baud rates. The schemas of lines have the same limits, which a test compares.
const (
	MinBaud = 50
	MaxBaud = 12_000_000 // limit of the fastest USB adapters, FT232H and XR21V1410
)

const maxDelay = time.Second

// BitsPerChar returns the length of one character on the wire in bits: start, data, parity and stop
// bits.
func (c Config) BitsPerChar() int {
	c = c.filled()
	n := 1 + c.DataBits + c.StopBits
	if c.Parity != "none" {
		n++
	}
	return n
}

// Check returns an error that describes the first invalid setting, or nil.
func (c Config) Check() error {
	c = c.filled()
	switch {
	case c.Path == "":
		return fmt.Errorf("serial port: no path given")
	case c.Baud < MinBaud || c.Baud > MaxBaud:
		return fmt.Errorf("port %s: baud %d is not within %d to %d", c.Path, c.Baud, MinBaud, MaxBaud)
	case c.DataBits < 5 || c.DataBits > 8:
		return fmt.Errorf("port %s: %d data bits are not within 5 to 8", c.Path, c.DataBits)
	case c.Parity != "none" && c.Parity != "even" && c.Parity != "odd":
		return fmt.Errorf("port %s: parity %q is not none, even or odd", c.Path, c.Parity)
	case c.StopBits != 1 && c.StopBits != 2:
		return fmt.Errorf("port %s: %d stop bits are not 1 or 2", c.Path, c.StopBits)
	}
	if r := c.RS485; r != nil && (min(r.DelayBefore, r.DelayAfter) < 0 || max(r.DelayBefore, r.DelayAfter) > maxDelay) {
		return fmt.Errorf("port %s: RS-485 delays %v and %v are not within 0 to %v", c.Path, r.DelayBefore, r.DelayAfter, maxDelay)
	}
	return nil
}

// filled returns c with defaults filled in and its own copy of RS485.
func (c Config) filled() Config {
	if c.DataBits == 0 {
		c.DataBits = 8
	}
	if c.Parity == "" {
		c.Parity = "none"
	}
	if c.StopBits == 0 {
		c.StopBits = 1
	}
	if c.RS485 != nil {
		r := *c.RS485
		c.RS485 = &r
	}
	return c
}

// CharTime returns the duration of one character of bitsPerChar bits at baud bit/s, or 0 if either
// is not positive.
func CharTime(baud, bitsPerChar int) time.Duration {
	if baud <= 0 || bitsPerChar <= 0 {
		return 0
	}
	return time.Duration(math.Round(float64(bitsPerChar) * 1e9 / float64(baud)))
}

// Silence returns t3.5, the pause that ends an RTU frame: 3.5 characters of 11 bits up to and
// including 19200 bit/s and 1.75 ms above (MODBUS over Serial Line V1.02 §2.5.1.1). It returns 0 if
// baud is not positive.
func Silence(baud int) time.Duration {
	switch {
	case baud <= 0:
		return 0
	case baud <= 19200:
		return time.Duration(math.Round(38.5e9 / float64(baud)))
	}
	return 1750 * time.Microsecond
}
