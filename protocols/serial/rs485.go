package serial

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rs485 is struct serial_rs485 of linux/serial.h, which is the same on all architectures.
type rs485 struct {
	flags       uint32
	delayBefore uint32 // ms
	delayAfter  uint32 // ms
	_           [5]uint32
}

const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1
	rs485RTSAfterSend = 1 << 2
	rs485RxDuringTx   = 1 << 4
)

func (r *RS485) encode() rs485 {
	if r == nil {
		return rs485{}
	}
	s := rs485{flags: rs485Enabled, delayBefore: ceilMs(r.DelayBefore), delayAfter: ceilMs(r.DelayAfter)}
	if r.RTSOnSend {
		s.flags |= rs485RTSOnSend
	}
	if r.RTSAfterSend {
		s.flags |= rs485RTSAfterSend
	}
	if r.RxDuringTx {
		s.flags |= rs485RxDuringTx
	}
	return s
}

func ceilMs(d time.Duration) uint32 {
	return uint32((d + time.Millisecond - 1) / time.Millisecond)
}

// setRS485 sets the driver to r, or turns RS-485 mode off if r is nil, and checks the settings that
// the driver reports back.
func setRS485(fd int, r *RS485) error {
	want := r.encode()
	got := want
	if err := ioctlRS485(fd, unix.TIOCSRS485, &got); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("the driver of this port has no RS-485 mode; leave rs485 out for an adapter that switches by itself: %w", err)
		}
		return fmt.Errorf("set RS-485 mode: %w", err)
	}
	if err := ioctlRS485(fd, unix.TIOCGRS485, &got); err != nil {
		return fmt.Errorf("read RS-485 mode back: %w", err)
	}
	if mask := uint32(rs485Enabled | rs485RTSOnSend | rs485RTSAfterSend); r != nil && (got.flags^want.flags)&mask != 0 {
		return fmt.Errorf("the driver refuses this RTS polarity (flags %#x, wanted %#x)", got.flags, want.flags)
	}
	return nil
}

func ioctlRS485(fd int, req uintptr, s *rs485) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(s))); e != 0 {
		return e
	}
	return nil
}
