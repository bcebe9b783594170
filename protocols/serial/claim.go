package serial

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// claim takes exclusive use of the open device; it returns EBUSY if another program has it. It
// reports whether the device is a pseudo-terminal.
func claim(fd int) (pty bool, err error) {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		if errors.Is(err, unix.ENOTTY) {
			return false, fmt.Errorf("is not a serial port: %w", err)
		}
		return false, fmt.Errorf("read settings: %w", err)
	}
	if pty, err = isPTY(fd); err != nil {
		return false, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, unix.EBUSY
		}
		return false, fmt.Errorf("lock: %w", err)
	}
	// The flag of a pty outlives a killed client for as long as the master side is open, so for a
	// pty only the lock is checked.
	if held, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL); err == nil && held != 0 && !pty {
		return false, unix.EBUSY
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return false, fmt.Errorf("take exclusively: %w", err)
	}
	return pty, nil
}

// isPTY recognises a pseudo-terminal by its device number, majors 136 to 143 (Linux
// Documentation/admin-guide/devices.txt).
func isPTY(fd int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("stat: %w", err)
	}
	major := unix.Major(uint64(st.Rdev))
	return major >= 136 && major <= 143, nil
}
