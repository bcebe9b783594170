package serial

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Port is an open serial port. One goroutine may read while another writes; Close, Configure and
// the deadlines may be called at any time. A blocked call does not occupy a thread, and data that
// arrives while no Read is waiting does not wake the process.
type Port struct {
	file    *os.File // not in the runtime poller
	raw     syscall.RawConn
	pty     bool
	in, out *watch

	mu     sync.Mutex // guards the fields below and serialises Configure
	cfg    Config
	sentBy time.Time // computed time at which everything written is on the wire
}

// Open opens and configures a port and discards what had arrived before. It fails while another
// program holds the port. TIOCEXCL excludes other programs afterwards; a lock (flock) on the node
// excludes those that run as root.
func Open(cfg Config) (*Port, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	fd, err := openNode(cfg.Path)
	if err != nil {
		return nil, err
	}
	pty, err := claim(fd)
	if err != nil {
		unix.Close(fd)
		if err == unix.EBUSY {
			return nil, inUse(cfg.Path)
		}
		return nil, fmt.Errorf("port %s: %w", cfg.Path, err)
	}
	p, err := newPort(fd, Config{Path: cfg.Path}, pty)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", cfg.Path, err)
	}
	_ = p.control(func(fd int) error { hurry(fd); return nil })
	if err = p.Configure(cfg); err == nil {
		err = p.Discard()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// newPort takes ownership of an open node, even if it fails.
func newPort(fd int, cfg Config, pty bool) (*Port, error) {
	// os.NewFile adds only non-blocking descriptors to the runtime poller.
	err := unix.SetNonblock(fd, false)
	p := &Port{file: os.NewFile(uintptr(fd), cfg.Path), pty: pty, cfg: cfg}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err == nil {
		p.in, err = newWatch(fd, unix.EPOLLIN)
	}
	if err == nil {
		p.out, err = newWatch(fd, unix.EPOLLOUT)
	}
	if err != nil {
		return nil, errors.Join(err, p.shut())
	}
	return p, nil
}

func openNode(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EBUSY):
			return -1, inUse(path)
		case errors.Is(err, unix.EACCES):
			return -1, fmt.Errorf("port %s: no permission (add the user to the group of the device, often dialout): %w", path, err)
		default:
			return -1, fmt.Errorf("port %s: open: %w", path, err)
		}
	}
}

// Read reads at least one byte. After an unplug it fails with an error for which Gone returns true.
func (p *Port) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := p.transfer("read", p.in, func(fd int) (int, error) { return unix.Read(fd, b) })
	if n == 0 && err == nil {
		return 0, p.endOfFile()
	}
	return n, err
}

// transfer moves bytes as soon as there are any, or there is room for any.
func (p *Port) transfer(op string, w *watch, move func(fd int) (int, error)) (n int, err error) {
	outer := w.until(func() bool {
		closed := p.control(func(fd int) error {
			for {
				if n, err = move(fd); err != unix.EINTR {
					return nil
				}
			}
		})
		if closed != nil {
			n, err = 0, closed
		}
		return err != unix.EAGAIN
	})
	if outer != nil {
		err = outer
	}
	if err != nil {
		return 0, &os.PathError{Op: op, Path: p.file.Name(), Err: err}
	}
	return n, nil
}

// endOfFile tells a hang-up from a port whose VMIN another program has set to 0 (TIOCEXCL does not
// stop root): both read as EOF.
func (p *Port) endOfFile() error {
	err := p.control(func(fd int) error {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		return err
	})
	if err == nil {
		return fmt.Errorf("port %s: another program has changed its settings", p.file.Name())
	}
	return &os.PathError{Op: "read", Path: p.file.Name(), Err: unix.EIO}
}

// Write hands b to the driver. It returns before the last bit is on the wire; see Drain.
func (p *Port) Write(b []byte) (int, error) {
	began, n, err := time.Now(), 0, error(nil)
	for n < len(b) && err == nil {
		var some int
		some, err = p.transfer("write", p.out, func(fd int) (int, error) { return unix.Write(fd, b[n:]) })
		n += some
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sentBy.Before(began) {
		p.sentBy = began
	}
	p.sentBy = p.sentBy.Add(time.Duration(n) * CharTime(p.cfg.Baud, p.cfg.BitsPerChar()))
	return n, err
}

// SetDeadline sets both deadlines. When a deadline passes, waiting calls fail with
// os.ErrDeadlineExceeded; the zero time means no deadline.
func (p *Port) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of Read, as SetDeadline does.
func (p *Port) SetReadDeadline(t time.Time) error { return p.in.file.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write, as SetDeadline does.
func (p *Port) SetWriteDeadline(t time.Time) error { return p.out.file.SetReadDeadline(t) }

// Config returns the settings of the port with defaults filled in.
func (p *Port) Config() Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg.filled()
}

// Discard discards what has arrived and has not been read.
func (p *Port) Discard() error {
	return p.wrap("discard input", p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }))
}

// Close releases the port and ends every waiting call with os.ErrClosed. Data that has not been
// sent is dropped, because a stuck adapter would otherwise delay Close for half a minute; call
// Drain first if it matters.
func (p *Port) Close() error {
	_ = p.control(func(fd int) error {
		_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
		return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	})
	return p.shut()
}

// shut ends waiting calls before it closes the descriptor that they use.
func (p *Port) shut() error {
	var errs []error
	for _, w := range []*watch{p.in, p.out} {
		if w != nil {
			errs = append(errs, w.file.Close())
		}
	}
	return errors.Join(append(errs, p.file.Close())...)
}

// control runs f on the descriptor, which stays open meanwhile.
func (p *Port) control(f func(fd int) error) error {
	var err error
	if p.raw.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return err
}

func (p *Port) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("port %s: %s: %w", p.file.Name(), what, err)
}
