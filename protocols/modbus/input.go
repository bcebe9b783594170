package modbus

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"gatewayd/protocols/nowait"
)

// input holds the bytes received and not yet consumed. Its buffer has room for two frames of the
// maximum length; if noise fills it, the older half is dropped.
type input struct {
	conn Conn
	raw  syscall.RawConn // nil if conn has none
	buf  []byte
	n    int
	tap  *Tap // nil: no tap
	told int  // number of leading bytes already reported to tap

	now  func(fd uintptr) bool // readNow, created once
	peek func(fd uintptr)      // readNow for Control, created once
	got  int
	fail error

	swap func(fd uintptr) bool // exchangeNow, created once
	out  []byte                // bytes exchangeNow writes
	sent int                   // number of bytes it has written; -1: not tried yet

	// writeNow, created once; this and the following fields belong to the writer, not to the reader
	push   func(fd uintptr) bool
	rest   []byte
	pushed int
	stuck  error
}

// room is enough for two frames of the maximum length: ASCII has 513 bytes.
const room = 2 * 520

// newInput returns the input of conn. raw is the result of rawOf(conn).
func newInput(conn Conn, raw syscall.RawConn, tap *Tap) *input {
	in := &input{conn: conn, raw: raw, buf: make([]byte, room), tap: tap}
	in.now, in.swap, in.push = in.readNow, in.exchangeNow, in.writeNow
	in.peek = func(fd uintptr) { in.readNow(fd) }
	return in
}

// rawOf returns access to the socket of conn for reads and writes that do not block. It is nil if
// conn is not a socket or hides it.
func rawOf(conn Conn) syscall.RawConn {
	s, ok := conn.(interface {
		net.Conn
		syscall.Conn
	})
	if ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

func (in *input) bytes() []byte { return in.buf[:in.n] }

func (in *input) consume(n int) {
	in.n = copy(in.buf, in.buf[n:in.n])
	in.told = max(0, in.told-n)
}

func (in *input) free() []byte {
	if in.n == len(in.buf) {
		in.drop(in.n / 2)
	}
	return in.buf[in.n:]
}

// fill reads once, until the read deadline of conn. Data that arrived before the deadline is read
// even if the expiry is noticed first.
func (in *input) fill() error {
	err := in.read()
	if errors.Is(err, os.ErrDeadlineExceeded) && in.look() {
		return nil
	}
	return err
}

// look reads what is available although the read deadline of conn has passed, and reports whether
// that was anything. The runtime wakes a reader for its deadline before it checks for data, and on
// a busy machine both may be long past when the reader runs.
func (in *input) look() bool {
	if in.raw == nil {
		return in.conn.SetReadDeadline(time.Now().Add(glance)) == nil && in.read() == nil
	}
	in.got = 0
	if in.raw.Control(in.peek) != nil {
		return false
	}
	n := in.got
	in.n += n
	in.got = 0
	return n > 0
}

// glance is how long a conn is read that cannot report whether data is available.
const glance = 200 * time.Microsecond

func (in *input) read() error {
	n, err := in.conn.Read(in.free())
	in.n += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// poll reads what is available without waiting, and reports whether that was anything. An error
// means that conn is dead. The read deadline of conn must lie in the future. A conn without raw
// access is read for up to 200 µs, which changes its read deadline.
func (in *input) poll() (bool, error) {
	if in.raw == nil {
		if err := in.conn.SetReadDeadline(time.Now().Add(glance)); err != nil {
			return false, err
		}
		err := in.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		return err == nil, err
	}
	outer := in.raw.Read(in.now)
	switch {
	case errors.Is(outer, os.ErrDeadlineExceeded), outer == nil && in.fail == syscall.EAGAIN:
		return false, nil
	case outer != nil:
		return false, outer
	case in.fail != nil:
		return false, os.NewSyscallError("read", in.fail)
	case in.got == 0:
		return false, io.EOF
	}
	in.n += in.got
	return true, nil
}

func (in *input) readNow(fd uintptr) bool {
	in.got, in.fail = nowait.Read(fd, in.free())
	return true
}

// exchange writes out and then reads once, until the read deadline of conn. It waits for the answer
// before it first tries to read, because an immediate read would find nothing; this makes a
// transaction with a fast device a tenth shorter. sent is the number of bytes of out that were
// written; if not all were, nothing was read. It requires raw.
func (in *input) exchange(out []byte) (sent int, err error) {
	in.out, in.sent, in.got, in.fail = out, -1, 0, nil
	err = in.raw.Read(in.swap)
	in.out = nil
	if in.sent == len(out) && errors.Is(err, os.ErrDeadlineExceeded) && in.look() {
		return in.sent, nil
	}
	switch {
	case err != nil:
	case in.fail != nil:
		err = os.NewSyscallError("write", in.fail)
		if in.sent == len(out) {
			err = os.NewSyscallError("read", in.fail)
		}
	case in.sent == len(out) && in.got == 0:
		err = io.EOF
	}
	in.n += in.got
	return max(in.sent, 0), err
}

func (in *input) exchangeNow(fd uintptr) bool {
	if in.sent < 0 {
		if in.sent, in.fail = nowait.Write(fd, in.out); in.fail == syscall.EAGAIN {
			in.fail = nil
		}
		return in.fail != nil || in.sent < len(in.out)
	}
	in.got, in.fail = nowait.Read(fd, in.free())
	return in.fail != syscall.EAGAIN
}

// write writes as much of out as conn takes without blocking. It may run concurrently with a
// reader. It requires raw and a write deadline that has not passed.
func (in *input) write(out []byte) (n int, err error) {
	in.rest, in.pushed, in.stuck = out, 0, nil
	err = in.raw.Write(in.push)
	in.rest = nil
	if err == nil && in.stuck != nil {
		err = os.NewSyscallError("write", in.stuck)
	}
	return in.pushed, err
}

func (in *input) writeNow(fd uintptr) bool {
	for len(in.rest) > 0 {
		n, err := nowait.Write(fd, in.rest)
		switch {
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			in.stuck = err
			return true
		}
		in.rest, in.pushed = in.rest[n:], in.pushed+n
	}
	return true
}
