package watchdog

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxCountdown bounds the countdown of a watchdog so that arithmetic on it cannot overflow.
const maxCountdown = 24 * time.Hour

// DeviceConfig describes a hardware watchdog.
type DeviceConfig struct {
	Path    string                     // device node; default /dev/watchdog0
	Timeout time.Duration              // requested countdown, 1 s to 24 h, rounded up to seconds; default 60 s
	Open    func(string) (Card, error) // default OpenCard
	Sys     string                     // default /sys/class/watchdog
}

// Device is a kernel watchdog (hardware or softdog). The device node stays closed until Arm,
// because opening it starts the countdown. Device is safe for concurrent use.
type Device struct {
	path    string
	seconds uint32
	open    func(string) (Card, error)
	sys     sysCard

	mu       sync.Mutex
	card     Card
	identity string
	granted  time.Duration
}

// NewDevice creates a Device. It does no I/O on the card.
func NewDevice(c DeviceConfig) (*Device, error) {
	if c.Path == "" {
		c.Path = "/dev/watchdog0"
	}
	if c.Timeout == 0 {
		c.Timeout = 60 * time.Second
	}
	if c.Open == nil {
		c.Open = OpenCard
	}
	if c.Sys == "" {
		c.Sys = "/sys/class/watchdog"
	}
	if c.Timeout < time.Second || c.Timeout > maxCountdown {
		return nil, fmt.Errorf("watchdog %s: timeout %s: want 1s to %s", c.Path, c.Timeout, maxCountdown)
	}
	seconds := uint32((c.Timeout + time.Second - 1) / time.Second)
	return &Device{path: c.Path, seconds: seconds, open: c.Open, sys: sysCardOf(c.Sys, c.Path)}, nil
}

// Identity returns the card's own name, e.g. "i6300ESB timer"; empty before Arm.
func (d *Device) Identity() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.identity
}

// BootStatus returns why the hardware last reset the machine. Before Arm it is read from sysfs,
// which does not start the countdown.
func (d *Device) BootStatus() (BootStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.card == nil {
		b, err := d.sys.bootStatus()
		if err != nil {
			return 0, fmt.Errorf("watchdog %s: boot status: %w", d.path, err)
		}
		return b, nil
	}
	bits, err := d.card.BootStatus()
	if err != nil {
		return 0, fmt.Errorf("watchdog %s: boot status: %w", d.path, err)
	}
	return BootStatus(bits), nil
}

// Arm implements Watchdog: it opens the device node, which starts the countdown, and sets its
// length. EBUSY means that another process holds the device (systemd's RuntimeWatchdogSec=, a
// watchdog daemon).
func (d *Device) Arm() (time.Duration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.card != nil {
		return d.granted, nil
	}
	card, err := d.open(d.path)
	if errors.Is(err, unix.EBUSY) {
		return 0, fmt.Errorf("watchdog %s: another process holds it (RuntimeWatchdogSec= in systemd?): %w", d.path, err)
	}
	if err != nil {
		return 0, fmt.Errorf("watchdog: %w", err)
	}
	d.card = card
	if info, err := card.Support(); err == nil {
		name, _, _ := strings.Cut(string(info.Identity[:]), "\x00")
		d.identity = strings.ToValidUTF8(name, "?")
	}
	setErr := card.SetTimeout(d.seconds)
	d.granted = d.countdown(setErr == nil)
	return d.granted, d.ping()
}

// countdown asks the card for the actual countdown, because the card may round or refuse the
// requested one.
func (d *Device) countdown(accepted bool) time.Duration {
	s, err := d.card.Timeout()
	got := time.Duration(s) * time.Second
	switch {
	case err == nil && got > 0 && got <= maxCountdown:
		return got
	case accepted:
		return time.Duration(d.seconds) * time.Second
	}
	return 10 * time.Second // unknown countdown: pet as often as any card needs
}

// Pet implements Watchdog. The card cannot show a status.
func (d *Device) Pet(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.card == nil {
		return nil
	}
	return d.ping()
}

// Grace adopts a countdown that a killed life left running, which would otherwise expire during the
// start. It never starts one.
func (d *Device) Grace(time.Duration) error {
	d.mu.Lock()
	held := d.card != nil
	d.mu.Unlock()
	if held {
		return d.Pet("")
	}
	if !d.sys.counting() {
		return nil
	}
	_, err := d.Arm()
	return err
}

// ping falls back to a write, which pets every card, for drivers without the ioctl. The byte is not
// 'V'.
func (d *Device) ping() error {
	if err := d.card.Keepalive(); err == nil {
		return nil
	}
	if _, err := d.card.Write([]byte{0}); err != nil {
		return fmt.Errorf("watchdog %s: keepalive: %w", d.path, err)
	}
	return nil
}

// Stop implements Watchdog: a last pet, the magic 'V', close. A card that cannot be disarmed keeps
// counting; the error says so and how much time the next life has.
func (d *Device) Stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.card == nil {
		return nil
	}
	err := d.ping()
	_, magic := d.card.Write([]byte("V"))
	err = errors.Join(err, magic, d.card.Close())
	d.card = nil
	if err != nil {
		return fmt.Errorf("watchdog %s: stop: %w", d.path, err)
	}
	if d.sys.nowayout() || d.sys.counting() {
		return fmt.Errorf("watchdog %s: cannot be disarmed (nowayout): it resets the machine in %s unless petted", d.path, d.granted)
	}
	return nil
}
