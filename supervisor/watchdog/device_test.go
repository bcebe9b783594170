package watchdog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeCard is the kernel's side of the watchdog API, with the behaviour of watchdog_dev.c: a
// rounding timeout, magic close, state in sysfs.
type fakeCard struct {
	sys      string
	calls    []string
	timeout  uint32
	round    uint32
	noSet    bool
	noPing   bool
	dead     bool
	nowayout bool
	boot     uint32
	magic    bool
}

func newFakeCard(t *testing.T) *fakeCard {
	t.Helper()
	c := &fakeCard{sys: t.TempDir(), timeout: 30}
	if err := os.Mkdir(filepath.Join(c.sys, "watchdog0"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.attr("state", "inactive")
	c.attr("nowayout", "0")
	c.attr("bootstatus", "32")
	return c
}

func (c *fakeCard) attr(name, value string) {
	os.WriteFile(filepath.Join(c.sys, "watchdog0", name), []byte(value+"\n"), 0o644)
}

func (c *fakeCard) say(call string) { c.calls = append(c.calls, call) }

func (c *fakeCard) open(string) (Card, error) {
	c.say("open")
	c.attr("state", "active")
	return c, nil
}

func (c *fakeCard) Support() (unix.WatchdogInfo, error) {
	info := unix.WatchdogInfo{Options: unix.WDIOF_MAGICCLOSE}
	copy(info.Identity[:], "i6300ESB timer")
	return info, nil
}

func (c *fakeCard) BootStatus() (uint32, error) { return c.boot, nil }

func (c *fakeCard) Timeout() (uint32, error) {
	if c.dead {
		return 0, unix.ENODEV
	}
	return c.timeout, nil
}

func (c *fakeCard) SetTimeout(s uint32) error {
	if c.noSet || c.dead {
		return unix.EOPNOTSUPP
	}
	c.timeout = s
	if c.round > 0 {
		c.timeout = (s + c.round - 1) / c.round * c.round
	}
	return nil
}

func (c *fakeCard) Keepalive() error {
	if c.noPing || c.dead {
		return unix.ENOTTY
	}
	c.say("ping")
	return nil
}

func (c *fakeCard) Write(p []byte) (int, error) {
	if c.dead {
		return 0, unix.EIO
	}
	c.magic = slices.Contains(p, 'V')
	c.say("write " + strings.ReplaceAll(string(p), "\x00", "0"))
	return len(p), nil
}

func (c *fakeCard) Close() error {
	c.say("close")
	if c.magic && !c.nowayout {
		c.attr("state", "inactive")
	}
	return nil
}

func (c *fakeCard) device(t *testing.T, timeout time.Duration) *Device {
	t.Helper()
	d, err := NewDevice(DeviceConfig{Path: "/dev/watchdog", Timeout: timeout, Open: c.open, Sys: c.sys})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (c *fakeCard) did(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(c.calls, ","); got != want {
		t.Fatalf("the card saw %q, want %q", got, want)
	}
	c.calls = nil
}

func TestDeviceLife(t *testing.T) {
	c := newFakeCard(t)
	c.round = 16
	d := c.device(t, 40500*time.Millisecond)
	if b, err := d.BootStatus(); err != nil || !b.CardReset() || b.String() != "card-reset" {
		t.Fatalf("boot status %s, %v", b, err)
	}
	must(t, d.Pet("") == nil && d.Grace(time.Second) == nil && d.Stop() == nil)
	c.did(t, "")
	for range 2 {
		if got, err := d.Arm(); got != 48*time.Second || err != nil {
			t.Fatalf("armed for %s, %v", got, err)
		}
	}
	c.did(t, "open,ping")
	c.boot = unix.WDIOF_OVERHEAT | unix.WDIOF_CARDRESET
	if b, err := d.BootStatus(); err != nil || b.String() != "card-reset,overheat" || d.Identity() != "i6300ESB timer" {
		t.Fatalf("boot status %s of %q, %v", b, d.Identity(), err)
	}
	must(t, d.Pet("x") == nil)
	c.did(t, "ping")
	must(t, d.Stop() == nil && d.Stop() == nil)
	c.did(t, "ping,write V,close")
}

func TestDeviceNowayout(t *testing.T) {
	c := newFakeCard(t)
	c.nowayout = true
	d := c.device(t, 40*time.Second)
	_, err := d.Arm()
	must(t, err == nil)
	if err := d.Stop(); err == nil || !strings.Contains(err.Error(), "resets the machine in 40s") {
		t.Fatalf("stop: %v", err)
	}
	// The next life must adopt a countdown that still runs.
	c.calls = nil
	next := c.device(t, 40*time.Second)
	must(t, next.Grace(time.Second) == nil && next.Grace(time.Second) == nil)
	c.did(t, "open,ping,ping")
}

func TestDeviceFailures(t *testing.T) {
	c := newFakeCard(t)
	c.noSet, c.noPing = true, true
	d := c.device(t, 10*time.Minute)
	if got, err := d.Arm(); got != 30*time.Second || err != nil {
		t.Fatalf("armed for %s, %v", got, err)
	}
	c.did(t, "open,write 0")
	must(t, d.Stop() == nil)

	c = newFakeCard(t)
	c.dead = true
	d = c.device(t, 10*time.Minute)
	if got, err := d.Arm(); got != 10*time.Second || !errors.Is(err, unix.EIO) {
		t.Fatalf("armed for %s, %v", got, err)
	}
	must(t, errors.Is(d.Pet(""), unix.EIO) && errors.Is(d.Stop(), unix.EIO))

	busy, err := NewDevice(DeviceConfig{Open: func(string) (Card, error) { return nil, unix.EBUSY }})
	must(t, err == nil)
	if _, err := busy.Arm(); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "RuntimeWatchdogSec") {
		t.Fatalf("arm: %v", err)
	}
	absent, err := NewDevice(DeviceConfig{Path: filepath.Join(t.TempDir(), "watchdog9")})
	must(t, err == nil)
	if _, err := absent.Arm(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("arm: %v", err)
	}
	for _, bad := range []time.Duration{-1, time.Millisecond, 25 * time.Hour} {
		if _, err := NewDevice(DeviceConfig{Timeout: bad}); err == nil {
			t.Errorf("timeout %s accepted", bad)
		}
	}
}

// TestKernelCardOnAFile: the real calls on a file that is not a watchdog report errors and do
// nothing else.
func TestKernelCardOnAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog0")
	must(t, os.WriteFile(path, nil, 0o600) == nil)
	c, err := OpenCard(path)
	must(t, err == nil)
	defer c.Close()
	_, err = c.Support()
	must(t, errors.Is(err, unix.ENOTTY))
	_, err = c.BootStatus()
	must(t, errors.Is(err, unix.ENOTTY))
	_, err = c.Timeout()
	must(t, errors.Is(err, unix.ENOTTY))
	must(t, errors.Is(c.SetTimeout(10), unix.ENOTTY) && errors.Is(c.Keepalive(), unix.ENOTTY))
}

func TestBoth(t *testing.T) {
	h := func(d time.Duration, err error) *hound { x := newHound(d); x.armErr = err; return x }
	broken := errors.New("broken")
	tests := map[string]struct {
		first, behind *hound
		want          time.Duration
		bad           bool
	}{
		"both":            {h(30*time.Second, nil), h(time.Minute, nil), 30 * time.Second, false},
		"wrong order":     {h(time.Minute, nil), h(30*time.Second, nil), 30 * time.Second, true},
		"no systemd":      {h(0, nil), h(time.Minute, nil), time.Minute, false},
		"hardware broken": {h(30*time.Second, nil), h(0, broken), 30 * time.Second, true},
		"neither":         {h(0, broken), h(0, broken), 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := Pair{test.first, test.behind}
			got, err := b.Arm()
			if got != test.want || (err != nil) != test.bad {
				t.Fatalf("armed for %s, %v", got, err)
			}
			must(t, b.Pet("x") == nil && b.Say("y") == nil && b.Stopping() == nil && b.Grace(1) == nil && b.Stop() == nil)
			must(t, test.first.pets == 1 && test.behind.pets == 1 && test.first.stops == 1 && test.behind.stops == 1)
			must(t, slices.Equal(test.behind.said, []string{"y", "STOPPING"}))
		})
	}
}
