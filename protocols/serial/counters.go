package serial

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters are the driver's, since it found the device. Framing errors speak of a wrong baud rate or a bad wire, parity errors of a wrong
// parity, overruns of a machine too busy to read.
type Counters struct {
	Received, Sent         uint32 // characters; they wrap
	Framing, Parity, Break uint32 // characters received badly
	Overrun                uint32 // characters lost in the hardware
	BufferOverrun          uint32 // characters lost in the kernel
}

// icount is struct serial_icounter_struct of linux/serial.h.
type icount struct {
	_                                                  [4]uint32 // modem line changes
	rx, tx, frame, overrun, parity, brk, bufferOverrun uint32
	_                                                  [9]uint32
}

// Counters asks the driver. Some drivers do not count, a pty never does: ENOTTY.
func (p *Port) Counters() (Counters, error) {
	var c icount
	err := p.control(func(fd int) error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&c))); e != 0 {
			return e
		}
		return nil
	})
	if err == unix.ENOTTY {
		err = fmt.Errorf("the driver does not count: %w", err)
	}
	return Counters{
		Received: c.rx, Sent: c.tx,
		Framing: c.frame, Parity: c.parity, Break: c.brk,
		Overrun: c.overrun, BufferOverrun: c.bufferOverrun,
	}, p.wrap("read counters", err)
}
