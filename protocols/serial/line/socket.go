package line

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/serial"
)

// socket is the pseudo-terminal that a client opens.
type socket struct {
	node   string   // path of the client's side
	master *os.File // our side
	raw    syscall.RawConn
	hold   int // descriptor of the client's side; without it our side reads EIO while no client has it open
	ctx    context.Context
	pull   context.CancelFunc
}

func newSocket() (*socket, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	k := &socket{master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	if err := k.open(fd); err != nil {
		k.master.Close()
		return nil, err
	}
	k.ctx, k.pull = context.WithCancel(context.Background())
	return k, nil
}

func (k *socket) open(fd int) error {
	var err error
	if k.raw, err = k.master.SyscallConn(); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock pseudo terminal: %w", err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("number of pseudo terminal: %w", err)
	}
	k.node = "/dev/pts/" + strconv.Itoa(int(n))
	if k.hold, err = unix.Open(k.node, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s: %w", k.node, err)
	}
	if err := quiet(k.hold); err != nil {
		unix.Close(k.hold)
		return fmt.Errorf("set %s: %w", k.node, err)
	}
	return nil
}

// quiet puts a new terminal in raw mode, so that it echoes nothing before a client configures it.
func quiet(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.BOTHER
	t.Ispeed, t.Ospeed = defaultBaud, defaultBaud
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS2, t)
}

// baud returns the baud rate that the client has set, which can be read on our side.
func (k *socket) baud() int {
	baud := 0
	_ = k.raw.Control(func(fd uintptr) {
		if t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS2); err == nil {
			baud = int(t.Ospeed)
		}
	})
	if baud <= 0 {
		return defaultBaud
	}
	return baud
}

// write sends bytes to the client without blocking and returns how many there was room for.
func (k *socket) write(b []byte) int {
	n := 0
	_ = k.raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), b)
		return true
	})
	return max(n, 0)
}

func (k *socket) close() {
	k.pull()
	unix.Close(k.hold)
	k.master.Close()
}

// Path returns the path of the port for clients. It exists while the line is plugged.
func (l *Line) Path() string { return filepath.Join(l.opts.Dir, l.opts.Name) }

// Plug restores the port at Path, as a new device. It does nothing if the line is plugged.
func (l *Line) Plug() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plugged != nil {
		return nil
	}
	if l.closed {
		return fmt.Errorf("line %s: plug: %w", l.opts.Name, os.ErrClosed)
	}
	timer, err := serial.NewTimer()
	if err != nil {
		return err
	}
	k, err := newSocket()
	if err != nil {
		timer.Close()
		return fmt.Errorf("line %s: %w", l.opts.Name, err)
	}
	if err := link(k.node, l.Path()); err != nil {
		timer.Close()
		k.close()
		return fmt.Errorf("line %s: %w", l.opts.Name, err)
	}
	l.plugged = k
	l.done.Go(func() {
		defer timer.Close()
		l.fromClient(k, timer)
	})
	return nil
}

// link atomically makes path a link to node, replacing whatever was there.
func link(node, path string) error {
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(node, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// Unplug simulates pulling the adapter: Path disappears and the client's descriptor is hung up.
// Devices stay on the wire. It does nothing if the line is not plugged.
func (l *Line) Unplug() error {
	l.mu.Lock()
	k := l.plugged
	l.plugged = nil
	l.mu.Unlock()
	if k == nil {
		return nil
	}
	err := os.Remove(l.Path())
	k.close()
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("line %s: %w", l.opts.Name, err)
	}
	return nil
}

// ahead limits how far the client's data may be ahead of the wire. Further data is not read from
// the terminal until later, as with a full UART.
const ahead = 500 * time.Millisecond

// fromClient puts what the client sends on the wire until the socket is closed.
func (l *Line) fromClient(k *socket, timer *serial.Timer) {
	buf := make([]byte, 4096)
	for {
		n, err := k.master.Read(buf)
		now := l.now()
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.plugged == k {
			l.send(l.client, append([]byte(nil), buf[:n]...), now)
		}
		wait := l.client.sentTo - l.now() - ahead
		l.mu.Unlock()
		if timer.Wait(k.ctx, wait) != nil {
			return
		}
	}
}

// toClient delivers bytes to the client. It holds the lock, so that a byte that the client has read
// has already been counted.
func (l *Line) toClient(s span, _ *station, _ int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plugged == nil {
		return
	}
	n := l.plugged.write(s.data)
	l.stats.ToClient += int64(n)
	l.stats.Overrun += int64(len(s.data) - n)
}
