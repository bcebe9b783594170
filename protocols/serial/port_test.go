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

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gatewayd/protocols/serial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair opens a pseudo-terminal and returns both sides.
func pair(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func open(t *testing.T, cfg serial.Config) *serial.Port {
	t.Helper()
	p, err := serial.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func peer(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install -y %s", name, pkg)
	}
	return path
}

func TestAnyBaud(t *testing.T) {
	master, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 12345, StopBits: 2})
	for _, baud := range []int{12345, 9600, 250000, serial.MinBaud, 4000000, serial.MaxBaud, 76800} {
		c := p.Config()
		c.Baud = baud
		if err := p.Configure(c); err != nil {
			t.Fatal(err)
		}
		got, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS2)
		if err != nil {
			t.Fatal(err)
		}
		if int(got.Ospeed) != baud || int(got.Ispeed) != baud {
			t.Errorf("baud %d/%d, want %d", got.Ispeed, got.Ospeed, baud)
		}
		if p.Config() != c {
			t.Errorf("config %+v, want %+v", p.Config(), c)
		}
	}
}

func TestBytesPassUnchanged(t *testing.T) {
	master, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 115200})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, way := range []struct {
		w io.Writer
		r io.Reader
	}{{p, master}, {master, p}} {
		if _, err := way.w.Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 256)
		if _, err := io.ReadFull(way.r, got); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(all) {
			t.Errorf("got %x", got)
		}
	}
}

func TestSttySeesOurSettings(t *testing.T) {
	stty := peer(t, "stty", "coreutils")
	_, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 38400, StopBits: 2, Parity: "odd"})
	ask := func() string {
		cmd := exec.Command(stty, "-a")
		cmd.Stdin = slave
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("stty: %v: %s", err, out)
		}
		return string(out)
	}
	has := func(out string, words ...string) {
		for _, w := range words {
			if !strings.Contains(" "+strings.NewReplacer("\n", " ", ";", " ").Replace(out)+" ", " "+w+" ") {
				t.Errorf("no %q in: %s", w, out)
			}
		}
	}
	has(ask(), "speed 38400 baud", "min = 1", "time = 0", "cs8", "cstopb", "parodd", "cread", "clocal", "-crtscts", "-icanon", "-echo", "-opost", "-ixon", "-icrnl", "-isig", "inpck", "ignbrk")
	if err := p.Configure(serial.Config{Path: slave.Name(), Baud: 9600, Parity: "even"}); err != nil {
		t.Fatal(err)
	}
	has(ask(), "speed 9600 baud", "-cstopb", "-parodd", "inpck")
}

// TestEveryArrivalWakesTheReader sends data in two pieces, the second while the reader is about to
// wait again. Using more ports than processors makes all orders of events occur.
func TestEveryArrivalWakesTheReader(t *testing.T) {
	for range 6 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			master, slave := pair(t)
			p := open(t, serial.Config{Path: slave.Name(), Baud: 19200})
			got := make([]byte, 8)
			for i := range 2000 {
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					master.Write([]byte("hello"))
					for began := time.Now(); time.Since(began) < time.Duration(i%100)*time.Microsecond; {
					}
					master.Write([]byte("yes"))
				}()
				p.SetReadDeadline(time.Now().Add(time.Minute))
				n, err := io.ReadFull(p, got)
				<-sent
				if err != nil || string(got) != "helloyes" {
					p.SetReadDeadline(time.Now().Add(time.Second))
					late, _ := p.Read(got)
					t.Fatalf("round %d: %d of 8 bytes, %v; %d more had come unnoticed", i, n, err, late)
				}
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	_, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 9600})
	p.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || serial.Gone(err) {
		t.Errorf("read: %v", err)
	}
	p.SetDeadline(time.Now().Add(3 * time.Millisecond))
	for err := error(nil); ; {
		if _, err = p.Write(make([]byte, 4096)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
			return
		}
	}
}

func TestCloseUnblocksRead(t *testing.T) {
	_, slave := pair(t)
	for range 20 {
		p := open(t, serial.Config{Path: slave.Name(), Baud: 9600})
		failed := make(chan error)
		go func() { _, err := p.Read(make([]byte, 1)); failed <- err }()
		p.Close()
		if err := <-failed; !errors.Is(err, os.ErrClosed) || serial.Gone(err) {
			t.Errorf("read: %v", err)
		}
		if err := p.Discard(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("discard: %v", err)
		}
	}
}

func TestDiscardAndDrain(t *testing.T) {
	master, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 9600})
	master.Write([]byte("stale"))
	if _, err := p.Read(make([]byte, 1)); err != nil { // the kernel delivers the whole write at once
		t.Fatal(err)
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	master.Write([]byte("fresh"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "fresh" {
		t.Errorf("%q, %v", got, err)
	}
	if err := p.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := p.Counters(); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("counters of a pty: %v", err)
	}
}

func TestForeignSettingsAreNoUnplug(t *testing.T) {
	_, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 9600})
	s, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s.Cc[unix.VMIN] = 0
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, s); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(make([]byte, 1)); err == nil || serial.Gone(err) {
		t.Errorf("read: %v", err)
	}
}

func TestSocat(t *testing.T) {
	socat := peer(t, "socat", "socat")
	path := filepath.Join(t.TempDir(), "port")
	cmd := exec.Command(socat, "PTY,rawer,link="+path, "EXEC:cat")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := serial.Appeared(ctx, path); err != nil {
		t.Fatal(err)
	}
	p := open(t, serial.Config{Path: path, Baud: 19200, Parity: "even"})
	p.Write([]byte("through socat and back"))
	got := make([]byte, 22)
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "through socat and back" {
		t.Errorf("%q, %v", got, err)
	}
	failed := make(chan error)
	go func() { _, err := p.Read(make([]byte, 1)); failed <- err }()
	cmd.Process.Kill()
	cmd.Wait()
	if err := <-failed; !serial.Gone(err) {
		t.Errorf("read: %v is not gone", err)
	}
	if _, err := p.Write([]byte("x")); !serial.Gone(err) {
		t.Errorf("write: %v is not gone", err)
	}
	if err := p.Configure(serial.Config{Path: path, Baud: 9600}); !serial.Gone(err) {
		t.Errorf("configure: %v is not gone", err)
	}
}
