package serial

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// framing is the set of bits in c_cflag that define the format of a character and flow control.
const framing = unix.CSIZE | unix.CSTOPB | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CRTSCTS

// Configure changes the settings of the open port at once; the caller must wait until the wire is
// silent. The path cannot change. After an error the port keeps its old settings.
func (p *Port) Configure(cfg Config) error {
	if err := cfg.Check(); err != nil {
		return err
	}
	cfg = cfg.filled()
	p.mu.Lock()
	defer p.mu.Unlock()
	if cfg.Path != p.cfg.Path {
		return fmt.Errorf("port %s: it cannot change to %s while it is open", p.cfg.Path, cfg.Path)
	}
	if err := p.control(func(fd int) error { return apply(fd, cfg, p.cfg, p.pty) }); err != nil {
		return p.wrap(fmt.Sprintf("set %d baud, %d%s%d", cfg.Baud, cfg.DataBits, cfg.Parity[:1], cfg.StopBits), err)
	}
	p.cfg = cfg
	return nil
}

func apply(fd int, cfg, before Config, pty bool) error {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	want := settings(*old, cfg)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, &want); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if err := verify(fd, want, pty); err != nil {
		return errors.Join(err, restore(fd, old))
	}
	if cfg.RS485 != nil || before.RS485 != nil {
		if err := setRS485(fd, cfg.RS485); err != nil {
			return errors.Join(err, restore(fd, old))
		}
	}
	return nil
}

func restore(fd int, old *unix.Termios) error {
	t := *old
	t.Cflag = t.Cflag&^(unix.CBAUD|unix.CBAUD<<16) | speed(int(t.Ospeed))
	return unix.IoctlSetTermios(fd, unix.TCSETS2, &t)
}

// settings returns t in raw mode with the settings of cfg. VMIN must be 1: a leftover 0 would make
// Read return EOF on a quiet line.
func settings(t unix.Termios, cfg Config) unix.Termios {
	sizes := [...]uint32{5: unix.CS5, 6: unix.CS6, 7: unix.CS7, 8: unix.CS8}
	t.Iflag = unix.IGNBRK
	t.Oflag, t.Lflag = 0, 0
	// The upper half of CBAUD is the input rate; 0 there means the output rate.
	t.Cflag = t.Cflag&unix.HUPCL | unix.CREAD | unix.CLOCAL | speed(cfg.Baud) | sizes[cfg.DataBits]
	if cfg.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if cfg.Parity != "none" {
		t.Cflag |= unix.PARENB
		t.Iflag |= unix.INPCK // a character with bad parity reads as 0, which keeps the length of a frame but makes its checksum fail
	}
	if cfg.Parity == "odd" {
		t.Cflag |= unix.PARODD
	}
	t.Ispeed, t.Ospeed = uint32(cfg.Baud), uint32(cfg.Baud)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return t
}

// verify reads the settings back and compares them.
func verify(fd int, want unix.Termios, pty bool) error {
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("read settings back: %w", err)
	}
	return compare(want, *got, pty)
}

// compare returns an error if the driver has silently changed settings that its hardware does not
// support.
func compare(want, got unix.Termios, pty bool) error {
	if d := int64(got.Ospeed) - int64(want.Ospeed); 40*max(d, -d) > int64(want.Ospeed) {
		return fmt.Errorf("the driver only supports %d baud", got.Ospeed)
	}
	checked := uint32(framing)
	if pty {
		checked &^= unix.PARENB | unix.CSIZE // the kernel's pty driver clears these
	}
	if (got.Cflag^want.Cflag)&checked != 0 {
		return fmt.Errorf("the driver refuses this parity, data bits or stop bits (c_cflag %#x, wanted %#x)", got.Cflag&checked, want.Cflag&checked)
	}
	if got.Cc[unix.VMIN] != 1 || got.Lflag&unix.ICANON != 0 {
		return fmt.Errorf("the driver refuses raw mode")
	}
	return nil
}
