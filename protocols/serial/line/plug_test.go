package line_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

func TestUnplugAndPlug(t *testing.T) {
	l := newLine(t, line.Options{})
	tap := l.Tap()
	for range 3 {
		p := open(t, l, 19200)
		p.Write([]byte("x"))
		read(t, tap, 1)
		failed := make(chan error)
		go func() { _, err := p.Read(make([]byte, 1)); failed <- err }()
		if err := l.Unplug(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !serial.Gone(err) {
			t.Errorf("read: %v is not gone", err)
		}
		if _, err := p.Write([]byte("x")); !serial.Gone(err) {
			t.Errorf("write: %v is not gone", err)
		}
		if _, err := serial.Open(p.Config()); !serial.Gone(err) {
			t.Errorf("open: %v is not gone", err)
		}
		appeared := make(chan error)
		go func() { appeared <- serial.Appeared(context.Background(), l.Path()) }()
		if err := l.Plug(); err != nil {
			t.Fatal(err)
		}
		if err := <-appeared; err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
}

func TestCloseEndsEverything(t *testing.T) {
	l := newLine(t, line.Options{})
	p, tap, gone := open(t, l, 19200), l.Tap(), l.Tap()
	gone.Close()
	failed := make(chan error, 2)
	go func() { _, err := tap.Read(make([]byte, 1)); failed <- err }()
	p.Write(make([]byte, 2000)) // more than the line accepts at once
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != io.EOF && err != nil {
		t.Errorf("tap: %v", err)
	}
	if _, err := tap.Write([]byte("x")); err == nil {
		t.Error("a tap of a closed line writes")
	}
	if err := l.Plug(); err == nil {
		t.Error("a closed line was plugged")
	}
}

func TestForeignClients(t *testing.T) {
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Fatal("socat is missing: apt-get install -y socat")
	}
	l := newLine(t, line.Options{Baud: 9600})
	l.Attach(func(f []byte, _ time.Time) ([]byte, time.Duration) { return bytes.ToUpper(f), 0 })
	for range 3 { // the port works for one client after the other
		cmd := exec.Command(socat, "-t5", "-", l.Path()+",rawer,b9600,readbytes=5")
		cmd.Stdin = strings.NewReader("hello")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "HELLO" {
			t.Errorf("socat: %q, %v", out, err)
		}
	}
	if s := l.Stats(); s.Requests != 3 || s.FromClient != 15 || s.ToClient != 15 {
		t.Errorf("stats %+v", s)
	}
}

func TestSetWhileRunning(t *testing.T) {
	l := newLine(t, line.Options{})
	l.Attach(func(f []byte, _ time.Time) ([]byte, time.Duration) { return f, 0 })
	p := open(t, l, 115200)
	ask := func(n int) string {
		p.Write([]byte("hello"))
		return string(read(t, p, n))
	}
	if got := ask(5); got != "hello" {
		t.Errorf("got %q", got)
	}
	l.SetBaud(9600)
	if got := ask(5); got == "hello" {
		t.Error("understood at another baud rate")
	}
	l.SetBaud(0)
	l.SetNoise(0, 1)
	if got := ask(5); got == "hello" {
		t.Error("every byte flipped, and nothing changed")
	}
	if s := l.Stats(); s.Flipped != 10 {
		t.Errorf("stats %+v", s)
	}
}

func TestBabbler(t *testing.T) {
	l := newLine(t, line.Options{})
	open(t, l, 9600)
	tap := l.Tap()
	for range 100 {
		if _, err := tap.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
	t.Error("400 kB were taken for a wire of 1 kB/s")
}

func TestNoDescriptorLeaks(t *testing.T) {
	descriptors := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	cycle := func() {
		l, err := line.New(line.Options{Dir: t.TempDir(), Name: "rs485"})
		if err != nil {
			t.Fatal(err)
		}
		p := open(t, l, 19200)
		l.Tap()
		l.Unplug()
		if _, err := serial.Open(p.Config()); err == nil {
			t.Error("an unplugged port opens")
		}
		p.Close()
		l.Plug()
		l.Close()
	}
	cycle() // the first cycle adds the descriptors of the poller itself
	before := descriptors()
	for range 20 {
		cycle()
	}
	if n := descriptors(); n > before {
		t.Errorf("%d descriptors became %d", before, n)
	}
}
