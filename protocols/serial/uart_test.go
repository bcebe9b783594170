//go:build lab

package serial_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/serial"
)

// TestUART runs on two connected serial ports with real drivers, named in UARTS: a 16550 and an
// FTDI adapter of the lab's machine, or hardware with a cable. A pty cannot show parity, the time
// that sending takes, and low latency.
func TestUART(t *testing.T) {
	names := strings.Fields(os.Getenv("UARTS"))
	if len(names) != 2 {
		t.Fatal("name two joined serial ports: UARTS='/dev/ttyS1 /dev/ttyUSB0'")
	}
	var ports [2]*serial.Port
	for i, name := range names {
		ports[i] = open(t, serial.Config{Path: name, Baud: 19200, Parity: "even"})
	}
	for i, p := range ports {
		framings(t, p)
		traffic(t, p, ports[1-i])
		exclusive(t, p.Config())
		refusals(t, p)
		latency(t, names[i])
	}
}

// framings checks settings against stty and, through Configure itself, against the report of the
// driver.
func framings(t *testing.T, p *serial.Port) {
	stty := peer(t, "stty", "coreutils")
	for _, c := range []struct {
		cfg  serial.Config
		says []string
	}{
		{serial.Config{Baud: 9600, DataBits: 7, Parity: "odd", StopBits: 2}, []string{"speed 9600 baud", "parenb", "parodd", "cs7", "cstopb"}},
		{serial.Config{Baud: 115200, Parity: "none", StopBits: 2}, []string{"speed 115200 baud", "-parenb", "cs8", "cstopb"}},
		{serial.Config{Baud: 12345, Parity: "even"}, []string{"parenb", "-parodd", "cs8", "-cstopb", "-crtscts", "-icanon"}},
		{serial.Config{Baud: 19200, Parity: "even"}, []string{"speed 19200 baud", "parenb", "-parodd", "cs8", "-cstopb"}},
	} {
		c.cfg.Path = p.Config().Path
		if err := p.Configure(c.cfg); err != nil {
			t.Error(err)
			continue
		}
		out, _ := exec.Command(stty, "-F", c.cfg.Path, "-a").Output() // it fails because the port has no window size
		said := " " + strings.Join(strings.Fields(strings.ReplaceAll(string(out), ";", " ")), " ") + " "
		for _, w := range c.says {
			if !strings.Contains(said, " "+w+" ") {
				t.Errorf("no %q in%s", w, said)
			}
		}
	}
}

func traffic(t *testing.T, from, to *serial.Port) {
	text := strings.Repeat("real drivers carry this. ", 80)
	to.SetReadDeadline(time.Now().Add(20 * time.Second))
	failed := make(chan error)
	go func() {
		_, err := from.Write([]byte(text))
		if err == nil {
			err = from.Drain(context.Background())
		}
		failed <- err
	}()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Errorf("%s to %s: %d of %d bytes, %v", from.Config().Path, to.Config().Path, n, len(text), err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	counted(t, from, func(c serial.Counters) bool { return int(c.Sent) >= len(text) })
	counted(t, to, func(c serial.Counters) bool { return int(c.Received) >= len(text) && c.Overrun == 0 })
	to.SetReadDeadline(time.Time{})
}

func counted(t *testing.T, p *serial.Port, enough func(serial.Counters) bool) {
	if c, err := p.Counters(); err != nil || !enough(c) {
		t.Errorf("%s: %+v, %v", p.Config().Path, c, err)
	}
}

func exclusive(t *testing.T, cfg serial.Config) {
	p, err := serial.Open(cfg)
	if err == nil {
		p.Close()
	}
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("second open: %v", err)
	}
}

func refusals(t *testing.T, p *serial.Port) {
	before := p.Config()
	c := before
	c.RS485 = &serial.RS485{RTSOnSend: true}
	if err := p.Configure(c); err == nil {
		t.Logf("%s has RS-485", c.Path)
	} else if !strings.Contains(err.Error(), "has no RS-485 mode") || p.Config() != before {
		t.Errorf("%v, config %+v", err, p.Config())
	}
}

// latency checks the latency timer in sysfs, which only FTDI adapters have.
func latency(t *testing.T, path string) {
	node, err := serial.Resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	ms, err := os.ReadFile(filepath.Join("/sys/class/tty", filepath.Base(node), "device/latency_timer"))
	if err == nil && strings.TrimSpace(string(ms)) != "1" {
		t.Errorf("%s: latency timer %s ms", path, ms)
	}
	d, ok := serial.USB("/sys", path)
	t.Logf("%s: latency timer %q, usb %v %+v", path, ms, ok, d)
}
