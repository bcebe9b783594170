package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"
)

// Conn is an open port or connection. net.Conn and a serial port of package serial are one. Two more methods are used when present:
// Discard() error throws away what was received and not read yet, on datagrams also what is still under way; SyscallConn (package syscall)
// looks for it without waiting.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Waiter sleeps for d or until ctx ends, whose error it then returns. serial.Timer is one that is precise to some ten microseconds;
// runtime timers are late by up to a millisecond, which costs a third of a line at 115200 baud.
type Waiter interface {
	Wait(ctx context.Context, d time.Duration) error
}

// Options of a Link. The zero value suits Modbus TCP.
type Options struct {
	// Timeout of requests that bring none; default 1 s.
	Timeout time.Duration
	// Baud is the line's speed in bits per second for RTU and ASCII; 0: bytes take no time (pty, converter), silence is 1.75 ms.
	Baud int
	// Bits per character including start, parity and stop; default 11 for RTU, 10 for ASCII (Serial Line V1.02 §2.5.1.1).
	Bits int
	// Silence between frames; default 3.5 characters, 1.75 ms above 19200 baud (§2.5.1.1). Negative: none, what comes is no wire's.
	Silence time.Duration
	// Turnaround is the pause after a broadcast (§2.4.1); default 100 ms.
	Turnaround time.Duration
	// Late is how long after an unanswered request on a line its answer may still come. Until then another request with the same unit
	// and function cannot be told apart from it and is not sent. Default 6 timeouts of the unanswered request.
	Late time.Duration
	// Timer is used for the pauses on a line; default runtime timers.
	Timer Waiter
	// Datagrams says that each Read and Write of the conn is one datagram with one frame (UDP); for TCP and RTUOverTCP only.
	Datagrams bool
	// Tap sees every frame; nil: nobody does. It may go from one Link to the next.
	Tap *Tap
	// Kits spares the Link what it does not need between two transactions; nil: it keeps that.
	Kits *Kits
}

// Link carries one transaction at a time over one connection or port. It is used by one goroutine at a time; Close of the Conn by another
// one is the only thing that may happen meanwhile, and ends a running Do. The Link never closes, reopens or repeats anything.
type Link struct {
	*kit    // nil: it is at rest
	conn    Conn
	raw     syscall.RawConn // nil when conn has none
	framing Framing
	opts    Options
	char    time.Duration // one character on the wire

	transaction uint16
	within      <-chan struct{} // the end of this context is watched for already
	armed       time.Time       // TCP: the read deadline, which may be sooner than the request's
	lost        error

	quiet time.Time // when the last byte in either direction was over
	dirty bool      // a line may not be silent
	owed  owed
}

// NewLink makes a Link over an open conn. It does no I/O.
func NewLink(conn Conn, framing Framing, opts Options) *Link {
	opts, char := opts.complete(framing)
	l := &Link{conn: conn, raw: rawOf(conn), framing: framing, opts: opts, char: char}
	// What was on a line before it was opened is unknown: it must be silent first (§2.5.1.1).
	l.dirty = framing.serial()
	opts.Tap.opened(framing)
	if opts.Datagrams {
		// The answers to whoever had our port before must not look like ours.
		l.transaction = uint16(rand.Uint32())
	}
	return l
}

func (o Options) complete(f Framing) (Options, time.Duration) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Turnaround <= 0 {
		o.Turnaround = 100 * time.Millisecond
	}
	if o.Timer == nil {
		o.Timer = runtimeTimer{}
	}
	if o.Bits <= 0 {
		o.Bits = 11
		if f.ascii() {
			o.Bits = 10
		}
	}
	char := time.Duration(0)
	if o.Baud > 0 {
		char = time.Duration(o.Bits) * time.Second / time.Duration(o.Baud)
	}
	switch {
	case o.Silence < 0:
		o.Silence = 0
	case o.Silence == 0:
		o.Silence = 1750 * time.Microsecond
		if o.Baud > 0 && o.Baud <= 19200 {
			o.Silence = char * 7 / 2
		}
	}
	return o, char
}

// Do sends r once and waits for its answer. It returns within the request's timeout (plus the time the frames take on a line, plus as much
// again while the line is not silent) or as soon as ctx ends. Errors: a Check error (nothing was sent), *Exception, ErrTimeout, ErrOwed,
// ErrCorrupt, ErrMismatch; ask LinkLost whether the conn must be replaced, NotSent whether the request went out. A broadcast gives an empty Response after the
// turnaround delay, ForceListenOnly one when nothing has come until the timeout.
func (l *Link) Do(ctx context.Context, r Request) (Response, error) {
	if err := r.Check(l.framing); err != nil {
		return Response{}, &unsentError{err}
	}
	if l.lost != nil {
		return Response{}, fmt.Errorf("%s: %w", r, notSent(l.lost))
	}
	if r.Timeout <= 0 {
		r.Timeout = l.opts.Timeout
	}
	l.equip()
	l.request, l.want = r, wantOf(r)
	for l.transaction++; slices.Contains(l.owed.transactions, l.transaction); {
		l.transaction++
	}
	carry := l.carry
	switch r.form() {
	case formBits, formRegisters, formSingle, formMany, formReadWrite:
		carry = l.call
	}
	answer, err := carry(ctx, r)
	if l.within == nil {
		l.strip()
	}
	if err == nil {
		return answer, nil
	}
	err = fmt.Errorf("%s: %w", r, err)
	l.ended(r, err)
	var why *lostError
	if errors.As(err, &why) {
		l.lost = why
	}
	return Response{}, err
}

// carry carries what grid-x's client has no function for.
func (l *Link) carry(ctx context.Context, r Request) (Response, error) {
	l.pdu = AppendRequest(l.pdu[:0], r)
	l.adu = AppendFrame(l.adu[:0], l.framing, l.transaction, r.Unit, l.pdu)
	body, err := l.send(ctx, l.adu)
	switch {
	case err == nil && body == nil, l.noneDue(err):
		return Response{}, nil
	case err != nil:
		return Response{}, err
	}
	return answerOf(r, body[1:])
}

// noneDue says whether err is the silence that is the right answer to the request.
func (l *Link) noneDue(err error) bool { return l.want.mute && silence(err) }

// silence says of an error that the request went out and nothing came until its timeout.
func silence(err error) bool {
	return errors.Is(err, ErrTimeout) && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrCorrupt) && !NotSent(err) && !LinkLost(err)
}

func word(b []byte, i int) uint16 { return Response{Data: b}.Register(i) }
