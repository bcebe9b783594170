package serial

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters are the driver's counters since it found the device. Framing errors indicate a wrong
// baud rate or bad wiring, parity errors a wrong parity, overruns a machine that is too busy to
// read.
type Counters struct {
	Received, Sent         uint32 // characters; the counters wrap around
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

// Counters returns the driver's counters. The error wraps ENOTTY if the driver has none; a pty
// never has.
func (p *Port) Counters() (Counters, error) {
	var c icount
	err := p.control(func(fd int) error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&c))); e != 0 {
			return e
		}
		return nil
	})
	if err == unix.ENOTTY {
		err = fmt.Errorf("the driver has no counters: %w", err)
	}
	return Counters{
		Received: c.rx, Sent: c.tx,
		Framing: c.frame, Parity: c.parity, Break: c.brk,
		Overrun: c.overrun, BufferOverrun: c.bufferOverrun,
	}, p.wrap("read counters", err)
}
