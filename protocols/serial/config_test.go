package serial

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestBitsPerChar(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want int
	}{
		{"defaults", Config{}, 10},
		{"rtu even", Config{DataBits: 8, Parity: "even", StopBits: 1}, 11},
		{"rtu none", Config{DataBits: 8, Parity: "none", StopBits: 2}, 11},
		{"ascii", Config{DataBits: 7, Parity: "odd", StopBits: 1}, 10},
	} {
		if got := c.cfg.BitsPerChar(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTiming(t *testing.T) {
	for _, c := range []struct {
		baud          int
		char, silence time.Duration
	}{
		{0, 0, 0},
		{-1, 0, 0},
		{1200, 9166667, 32083333},
		{9600, 1145833, 4010417},
		{19200, 572917, 2005208},
		{19201, 572887, 1750000},
		{115200, 95486, 1750000},
	} {
		if char, silence := CharTime(c.baud, 11), Silence(c.baud); char != c.char || silence != c.silence {
			t.Errorf("%d baud: %d and %d, want %d and %d", c.baud, char, silence, c.char, c.silence)
		}
	}
}

func TestSilenceIsNeverShorterThanTheSpecSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		baud := rapid.IntRange(MinBaud, MaxBaud).Draw(t, "baud")
		s, chars := Silence(baud), 35*CharTime(baud, 11)/10
		if s < 1750*time.Microsecond && baud > 19200 || baud <= 19200 && (s-chars).Abs() > 10 {
			t.Fatalf("%d baud: %v", baud, s)
		}
	})
}

func TestCheck(t *testing.T) {
	good := Config{Path: "/dev/x", Baud: 19200}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"good", func(*Config) {}, ""},
		{"path", func(c *Config) { c.Path = "" }, "no path"},
		{"slow", func(c *Config) { c.Baud = 49 }, "baud 49"},
		{"fast", func(c *Config) { c.Baud = MaxBaud + 1 }, "baud 12000001"},
		{"bits", func(c *Config) { c.DataBits = 9 }, "9 data bits"},
		{"parity", func(c *Config) { c.Parity = "E" }, `parity "E"`},
		{"stop", func(c *Config) { c.StopBits = 3 }, "3 stop bits"},
		{"delay", func(c *Config) { c.RS485 = &RS485{DelayAfter: time.Minute} }, "RS-485 delays"},
		{"negative delay", func(c *Config) { c.RS485 = &RS485{DelayBefore: -1} }, "RS-485 delays"},
	} {
		cfg := good
		c.change(&cfg)
		err := cfg.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	dirty := unix.Termios{Iflag: unix.ICRNL | unix.IXON, Oflag: unix.OPOST, Lflag: unix.ICANON | unix.ECHO, Cflag: unix.CRTSCTS | unix.B9600 | unix.HUPCL}
	dirty.Cc[unix.VTIME] = 9
	got := settings(dirty, Config{Baud: 12345, DataBits: 7, Parity: "odd", StopBits: 2})
	if want := uint32(unix.CS7 | unix.CSTOPB | unix.PARENB | unix.PARODD | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.BOTHER); got.Cflag != want {
		t.Errorf("c_cflag %#x, want %#x", got.Cflag, want)
	}
	if got.Iflag != unix.IGNBRK|unix.INPCK || got.Oflag != 0 || got.Lflag != 0 || got.Cc[unix.VMIN] != 1 || got.Cc[unix.VTIME] != 0 {
		t.Errorf("not raw: %+v", got)
	}
	if got.Ispeed != 12345 || got.Ospeed != 12345 {
		t.Errorf("speed %d/%d", got.Ispeed, got.Ospeed)
	}
}

func TestCompareFindsWhatTheDriverChanged(t *testing.T) {
	want := settings(unix.Termios{}, Config{Baud: 250000, DataBits: 7, Parity: "even", StopBits: 2})
	for _, c := range []struct {
		name         string
		change       func(*unix.Termios)
		uart, pseudo bool // whether the change is accepted
	}{
		{"nothing", func(*unix.Termios) {}, true, true},
		{"rounded baud", func(t *unix.Termios) { t.Ospeed = 246000 }, true, true},
		{"other baud", func(t *unix.Termios) { t.Ospeed = 230400 }, false, false},
		{"no parity", func(t *unix.Termios) { t.Cflag &^= unix.PARENB }, false, true},
		{"8 bits", func(t *unix.Termios) { t.Cflag |= unix.CS8 }, false, true},
		{"1 stop bit", func(t *unix.Termios) { t.Cflag &^= unix.CSTOPB }, false, false},
		{"odd", func(t *unix.Termios) { t.Cflag |= unix.PARODD }, false, false},
		{"flow control", func(t *unix.Termios) { t.Cflag |= unix.CRTSCTS }, false, false},
		{"vmin", func(t *unix.Termios) { t.Cc[unix.VMIN] = 0 }, false, false},
	} {
		got := want
		c.change(&got)
		if uart, pseudo := compare(want, got, false) == nil, compare(want, got, true) == nil; uart != c.uart || pseudo != c.pseudo {
			t.Errorf("%s: accepted %v on a uart and %v on a pty, want %v and %v", c.name, uart, pseudo, c.uart, c.pseudo)
		}
	}
}

func TestEncodeRS485(t *testing.T) {
	var off *RS485
	if off.encode() != (rs485{}) {
		t.Error("nil is not off")
	}
	got := (&RS485{RTSOnSend: true, RxDuringTx: true, DelayBefore: time.Millisecond, DelayAfter: 1001 * time.Microsecond}).encode()
	if want := (rs485{flags: 1 | 2 | 16, delayBefore: 1, delayAfter: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (&RS485{RTSAfterSend: true}).encode(); got.flags != 1|4 {
		t.Errorf("flags %#x", got.flags)
	}
}

func TestDrainWaits(t *testing.T) {
	const char, ms = 500 * time.Microsecond, time.Millisecond
	for _, c := range []struct {
		name     string
		q        queue
		computed time.Duration
		pty      bool
		want     time.Duration
	}{
		{"kernel holds some", queue{held: 10}, 0, false, 5 * ms},
		{"kernel holds much", queue{held: 4000}, 0, false, drainLook},
		{"pty not taken over", queue{held: 10}, 0, true, 5 * ms},
		{"uart is empty", queue{tells: true, empty: true}, 5 * ms, false, 0},
		{"uart shifts the last", queue{tells: true}, -ms, false, char},
		{"driver never says empty", queue{tells: true}, -lateWord, false, 0},
		{"adapter says nothing", queue{}, 7 * ms, false, 7 * ms},
		{"adapter says nothing, over", queue{}, -ms, false, 0},
		{"pty", queue{}, 7 * ms, true, 0},
	} {
		if got := c.q.wait(char, c.computed, c.pty); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
