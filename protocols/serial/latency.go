package serial

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// serialStruct is struct serial_struct of linux/tty.h.
type serialStruct struct {
	kind, line              int32
	port                    uint32
	irq, flags              int32
	xmitFIFO, divisor, base int32
	closeDelay              uint16
	ioType, _               uint8
	hub6                    int32
	closingWait, _          uint16
	iomemBase               uintptr
	iomemRegShift           uint16
	portHigh                uint32
	iomapBase               uintptr
}

const asyncLowLatency = 1 << 13 // ASYNC_LOW_LATENCY of linux/tty_flags.h

// hurry asks the driver to deliver bytes as they arrive. An FTDI adapter otherwise delays them by
// 16 ms, which halves the rate of short exchanges. Most other drivers do not support this, so
// failures are ignored.
func hurry(fd int) {
	var s serialStruct
	if ioctlSerial(fd, unix.TIOCGSERIAL, &s) && s.flags&asyncLowLatency == 0 {
		s.flags |= asyncLowLatency
		ioctlSerial(fd, unix.TIOCSSERIAL, &s)
	}
}

func ioctlSerial(fd int, req uintptr, s *serialStruct) bool {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(s)))
	return e == 0
}
