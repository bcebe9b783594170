package watchdog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notifyDeadline bounds one message: a stuck service manager must not hold up the keeper.
const notifyDeadline = time.Second

// Systemd speaks the sd_notify(3) protocol to the service manager. The unit needs Type=notify (or
// notify-reload) and WatchdogSec=. Systemd is safe for concurrent use.
type Systemd struct {
	addr    *net.UnixAddr
	timeout time.Duration

	mu    sync.Mutex
	conn  *net.UnixConn
	armed bool
}

// NewSystemd reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID through getenv. It returns nil and
// no error if the process was not started by a service manager that expects notifications. It does
// not change the environment; the caller must remove NOTIFY_SOCKET from that of programs it starts.
func NewSystemd(getenv func(string) string, pid int) (*Systemd, error) {
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	if name[0] != '/' && name[0] != '@' || len(name) < 2 {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: want an absolute path or @abstract", name)
	}
	timeout, err := systemdTimeout(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), pid)
	if err != nil {
		return nil, err
	}
	return &Systemd{addr: &net.UnixAddr{Name: name, Net: "unixgram"}, timeout: timeout}, nil
}

func systemdTimeout(usec, owner string, pid int) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	if owner != "" && owner != strconv.Itoa(pid) {
		return 0, nil // meant for another process: sd_watchdog_enabled(3)
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(maxCountdown/time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC %q: want microseconds from 1 to %d", usec, int64(maxCountdown/time.Microsecond))
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Timeout returns the unit's WatchdogSec=; 0 means that systemd does not watch.
func (s *Systemd) Timeout() time.Duration { return s.timeout }

// Arm implements Watchdog: it sends READY=1, which starts the countdown of systemd.
func (s *Systemd) Arm() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed {
		return s.timeout, nil
	}
	if err := s.send("READY=1\nWATCHDOG=1"); err != nil {
		return 0, err
	}
	s.armed = true
	return s.timeout, nil
}

// Pet implements Watchdog: it sends WATCHDOG=1 with a STATUS=.
func (s *Systemd) Pet(status string) error {
	return s.tell("WATCHDOG=1" + statusLine(status))
}

// Stop implements Watchdog. systemd has stopped counting at STOPPING=1; Stop sends it for a stop
// that skipped Stopping, and closes the socket.
func (s *Systemd) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.send("STOPPING=1")
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	return err
}

// Say sets the STATUS= that systemctl status shows. It does not pet.
func (s *Systemd) Say(status string) error {
	return s.tell(strings.TrimPrefix(statusLine(status), "\n"))
}

// Stopping announces a clean stop: STOPPING=1. From here on systemd counts TimeoutStopSec= instead
// of WatchdogSec=.
func (s *Systemd) Stopping() error { return s.tell("STOPPING=1") }

// Grace asks for d more of start-up time (EXTEND_TIMEOUT_USEC=).
func (s *Systemd) Grace(d time.Duration) error {
	return s.tell("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

// Reloading announces that the config is being reloaded (RELOADING=1 with the MONOTONIC_USEC= that
// Type=notify-reload requires). Ready ends it.
func (s *Systemd) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("monotonic clock: %w", err)
	}
	return s.tell("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10))
}

// Ready ends a reload (READY=1). The first READY=1 of a life is sent by Arm.
func (s *Systemd) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		return nil
	}
	return s.send("READY=1")
}

func (s *Systemd) tell(message string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(message)
}

// send writes one datagram over an open socket, so that running out of descriptors cannot stop the
// petting. If the socket has become stale it dials once more.
func (s *Systemd) send(message string) error {
	if s.conn != nil {
		err := s.write(message)
		if err == nil {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("notify %s: the service manager does not read: %w", s.addr.Name, err)
		}
		s.conn.Close()
		s.conn = nil
	}
	conn, err := net.DialUnix("unixgram", nil, s.addr)
	if err != nil {
		return fmt.Errorf("notify %s: %w", s.addr.Name, err)
	}
	s.conn = conn
	if err := s.write(message); err != nil {
		return fmt.Errorf("notify %s: %w", s.addr.Name, err)
	}
	return nil
}

func (s *Systemd) write(message string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(notifyDeadline)); err != nil {
		return err
	}
	_, err := s.conn.Write([]byte(message))
	return err
}

// statusLine makes one line of a status, which may quote a device: a line feed in it would start
// another sd_notify assignment.
func statusLine(status string) string {
	if status == "" {
		return ""
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(status, "?"))
	if len(clean) > 512 {
		clean = strings.ToValidUTF8(clean[:512], "")
	}
	return "\nSTATUS=" + clean
}
