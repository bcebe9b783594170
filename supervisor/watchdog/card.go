package watchdog

import (
	"os"

	"golang.org/x/sys/unix"
)

// Card is an open watchdog device with the calls of the kernel's watchdog API
// (Documentation/watchdog/watchdog-api.rst). Opening a device starts its countdown.
type Card interface {
	Support() (unix.WatchdogInfo, error) // WDIOC_GETSUPPORT
	BootStatus() (uint32, error)         // WDIOC_GETBOOTSTATUS, WDIOF_* bits
	Timeout() (uint32, error)            // WDIOC_GETTIMEOUT, seconds
	SetTimeout(seconds uint32) error     // WDIOC_SETTIMEOUT; the card may round it
	Keepalive() error                    // WDIOC_KEEPALIVE
	Write(p []byte) (n int, err error)   // any byte pets; 'V' allows Close to disarm
	Close() error
}

// OpenCard opens a watchdog device such as /dev/watchdog0. Only one process can hold it; the
// countdown starts at once.
func OpenCard(path string) (Card, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return kernelCard{f}, nil
}

type kernelCard struct{ f *os.File }

func (k kernelCard) fd() int { return int(k.f.Fd()) }

func (k kernelCard) Support() (unix.WatchdogInfo, error) {
	info, err := unix.IoctlGetWatchdogInfo(k.fd())
	return *info, os.NewSyscallError("WDIOC_GETSUPPORT", err)
}

func (k kernelCard) BootStatus() (uint32, error) {
	bits, err := unix.IoctlGetUint32(k.fd(), unix.WDIOC_GETBOOTSTATUS)
	return bits, os.NewSyscallError("WDIOC_GETBOOTSTATUS", err)
}

func (k kernelCard) Timeout() (uint32, error) {
	s, err := unix.IoctlGetUint32(k.fd(), unix.WDIOC_GETTIMEOUT)
	return s, os.NewSyscallError("WDIOC_GETTIMEOUT", err)
}

func (k kernelCard) SetTimeout(seconds uint32) error {
	err := unix.IoctlSetPointerInt(k.fd(), unix.WDIOC_SETTIMEOUT, int(seconds))
	return os.NewSyscallError("WDIOC_SETTIMEOUT", err)
}

func (k kernelCard) Keepalive() error {
	return os.NewSyscallError("WDIOC_KEEPALIVE", unix.IoctlWatchdogKeepalive(k.fd()))
}

func (k kernelCard) Write(p []byte) (int, error) { return k.f.Write(p) }

func (k kernelCard) Close() error { return k.f.Close() }
