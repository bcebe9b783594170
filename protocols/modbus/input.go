package modbus

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// input is what was received and not consumed yet. Its buffer holds two of the longest frames (ASCII 513 bytes); when noise fills it the
// older half is dropped.
type input struct {
	conn Conn
	raw  syscall.RawConn // nil when conn has none
	buf  [1040]byte
	n    int

	now  func(fd uintptr) bool // readNow, made once
	got  int
	fail error
}

func newInput(conn Conn) *input {
	in := &input{conn: conn}
	in.now = in.readNow
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			in.raw = raw
		}
	}
	return in
}

func (in *input) bytes() []byte { return in.buf[:in.n] }

func (in *input) consume(n int) {
	in.n = copy(in.buf[:], in.buf[n:in.n])
}

func (in *input) room() []byte {
	if in.n == len(in.buf) {
		in.consume(in.n / 2)
	}
	return in.buf[in.n:]
}

// fill reads once, until the read deadline of conn.
func (in *input) fill() error {
	n, err := in.conn.Read(in.room())
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
		if err := in.conn.SetReadDeadline(time.Now().Add(200 * time.Microsecond)); err != nil {
			return false, err
		}
		err := in.fill()
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
	for {
		in.got, in.fail = syscall.Read(int(fd), in.room())
		if in.fail != syscall.EINTR {
			return true
		}
	}
}
