package serial_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/serial"
)

func TestExclusive(t *testing.T) {
	_, slave := pair(t)
	cfg := serial.Config{Path: slave.Name(), Baud: 9600}
	p := open(t, cfg)
	if _, err := serial.Open(cfg); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("second open: %v", err)
	}
	stty := exec.Command(peer(t, "stty", "coreutils"), "-F", slave.Name())
	if os.Getuid() == 0 {
		if err := os.Chmod(slave.Name(), 0o666); err != nil {
			t.Fatal(err)
		}
		stty.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := stty.CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("stty of another user: %v: %s", err, out)
	}
	p.Close()
	open(t, cfg)
}

func TestLockOfAnotherProgram(t *testing.T) {
	flock := peer(t, "flock", "util-linux")
	_, slave := pair(t)
	holder := exec.Command(flock, "-x", slave.Name(), "cat")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	in.Write([]byte("x"))
	io.ReadFull(out, make([]byte, 1)) // cat is running, so the lock is held
	cfg := serial.Config{Path: slave.Name(), Baud: 9600}
	if _, err := serial.Open(cfg); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", holder.Process.Pid)) {
		t.Errorf("open: %v", err)
	}
	in.Close()
	holder.Wait()
	open(t, cfg)
}

func TestOpenRefuses(t *testing.T) {
	_, slave := pair(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  serial.Config
		is   error
		says string
	}{
		{"absent", serial.Config{Path: file + "x", Baud: 9600}, unix.ENOENT, "open"},
		{"no terminal", serial.Config{Path: file, Baud: 9600}, unix.ENOTTY, "is not a serial port"},
		{"rs485", serial.Config{Path: slave.Name(), Baud: 9600, RS485: &serial.RS485{RTSOnSend: true}}, unix.ENOTTY, "has no RS-485 mode"},
		{"baud", serial.Config{Path: slave.Name()}, nil, "baud 0"},
	} {
		p, err := serial.Open(c.cfg)
		if err == nil {
			p.Close()
		}
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	open(t, serial.Config{Path: slave.Name(), Baud: 9600}) // a refused Open leaves nothing locked
}

func TestRefusedConfigureChangesNothing(t *testing.T) {
	_, slave := pair(t)
	cfg := serial.Config{Path: slave.Name(), Baud: 9600, DataBits: 8, Parity: "none", StopBits: 1}
	p := open(t, cfg)
	bad := cfg
	bad.Baud, bad.RS485 = 19200, &serial.RS485{}
	other := cfg
	other.Path = "/dev/null"
	for _, c := range []serial.Config{bad, other, {}} {
		if err := p.Configure(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	got, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS2)
	if err != nil || got.Ospeed != 9600 || p.Config() != cfg {
		t.Errorf("baud %d, config %+v, %v", got.Ospeed, p.Config(), err)
	}
}
