package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BootStatus is what the watchdog hardware reports about the last reset, as WDIOF_* bits. 0 means a
// normal power-up, or hardware that does not record it: of three common cards only some do
// (i6300esb yes, iTCO no).
type BootStatus uint32

// CardReset reports whether the hardware watchdog reset the machine.
func (b BootStatus) CardReset() bool { return b&unix.WDIOF_CARDRESET != 0 }

// String names the bits, e.g. "card-reset,overheat"; "none" for 0.
func (b BootStatus) String() string {
	names := []struct {
		bit  BootStatus
		name string
	}{
		{unix.WDIOF_CARDRESET, "card-reset"}, {unix.WDIOF_OVERHEAT, "overheat"}, {unix.WDIOF_FANFAULT, "fan-fault"},
		{unix.WDIOF_EXTERN1, "extern-1"}, {unix.WDIOF_EXTERN2, "extern-2"},
		{unix.WDIOF_POWERUNDER, "power-under"}, {unix.WDIOF_POWEROVER, "power-over"},
	}
	var out []string
	for _, n := range names {
		if b&n.bit != 0 {
			out = append(out, n.name)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ",")
}

// sysCard is a card's directory under /sys/class/watchdog. Reading it, unlike opening the device,
// starts no countdown.
type sysCard string

// sysCardOf returns the directory of a device node. /dev/watchdog is the old name of watchdog0;
// other links (by-path) are followed.
func sysCardOf(root, device string) sysCard {
	if real, err := filepath.EvalSymlinks(device); err == nil {
		device = real
	}
	name := filepath.Base(device)
	if name == "watchdog" {
		name = "watchdog0"
	}
	return sysCard(filepath.Join(root, name))
}

func (s sysCard) text(file string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(string(s), file))
	return strings.TrimSpace(string(raw)), err
}

func (s sysCard) bootStatus() (BootStatus, error) {
	text, err := s.text("bootstatus")
	if err != nil {
		return 0, err
	}
	bits, err := strconv.ParseInt(text, 0, 64) // the kernel prints it signed
	if err != nil {
		return 0, fmt.Errorf("%s/bootstatus: %w", s, err)
	}
	return BootStatus(uint32(bits)), nil
}

// counting reports whether the countdown runs although no process holds the device: an earlier life
// was killed, or the boot loader armed it.
func (s sysCard) counting() bool {
	text, err := s.text("state")
	return err == nil && text == "active"
}

// nowayout reports whether the card cannot be disarmed once it counts.
func (s sysCard) nowayout() bool {
	text, err := s.text("nowayout")
	return err == nil && text == "1"
}
