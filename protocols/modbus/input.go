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

// input is what was received and not consumed yet. Its buffer holds two of the longest frames; when noise fills it the older half is dropped.
type input struct {
	conn Conn
	raw  syscall.RawConn // nil when conn has none
	buf  []byte
	n    int
	tap  *Tap // nil: nobody wants to know
	told int  // bytes at the beginning that tap knows

	now  func(fd uintptr) bool // readNow, made once
	peek func(fd uintptr)      // readNow for Control, made once
	got  int
	fail error

	swap func(fd uintptr) bool // exchangeNow, made once
	out  []byte                // what it writes
	sent int                   // what it has written; -1: nothing was tried

	push   func(fd uintptr) bool // writeNow, made once; what it has is whose who writes, not whose who reads
	rest   []byte
	pushed int
	stuck  error
}

// room is for two of the longest frames: ASCII has 513 bytes.
const room = 2 * 520

// newInput is that of a conn, of which raw is rawOf.
func newInput(conn Conn, raw syscall.RawConn, tap *Tap) *input {
	in := &input{conn: conn, raw: raw, buf: make([]byte, room), tap: tap}
	in.now, in.swap, in.push = in.readNow, in.exchangeNow, in.writeNow
	in.peek = func(fd uintptr) { in.readNow(fd) }
	return in
}

// rawOf is how to read and write a socket without waiting; nil: conn is none, or hides it.
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

// fill reads once, until the read deadline of conn. What has come by then is read even if the end of the deadline was noticed first.
func (in *input) fill() error {
	err := in.read()
	if errors.Is(err, os.ErrDeadlineExceeded) && in.look() {
		return nil
	}
	return err
}

// look takes what is there although the read deadline of conn is over, and says whether that was anything. The runtime wakes a reader for
// its deadline before it looks what has come, and on a busy machine both are long past when it gets to either.
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

// glance is how long a conn is read that cannot tell what is there.
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

// poll takes what is there without waiting and says whether that was anything. An error means that conn is dead. The read deadline of
// conn must lie in the future. A conn that cannot tell is read for a fifth of a millisecond, which changes its read deadline.
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

// exchange writes out and reads once, until the read deadline of conn. It does not look for an answer before it has waited for one, which
// would be for nothing: that makes a fast device's transaction a tenth shorter. sent is how many bytes of out are gone; if not all are,
// nothing was read. It needs raw.
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

// write writes of out what conn takes without waiting, beside whoever reads. It needs raw, and a write deadline that is not over.
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
