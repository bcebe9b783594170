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

// Conn is an open port or connection, for instance a net.Conn or a serial port of package serial.
// Two more methods are used if present: Discard() error drops data that was received but not read,
// and on datagram sockets also data still in transit; SyscallConn (package syscall) allows checking
// for data without waiting.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Waiter sleeps for d or until ctx ends, and then returns the error of ctx. serial.Timer is
// accurate to some tens of microseconds. Runtime timers are up to a millisecond late, which costs a
// third of the throughput of a line at 115200 baud.
type Waiter interface {
	Wait(ctx context.Context, d time.Duration) error
}

// Options configure a Link. The zero value suits Modbus TCP.
type Options struct {
	// Timeout is used for requests that have none; default 1 s.
	Timeout time.Duration
	// Baud is the line's speed in bits per second for RTU and ASCII; 0: bytes take no time (pty,
	// converter) and the default Silence is 1.75 ms.
	Baud int
	// Bits is the number of bits per character including start, parity and stop bits; default 11
	// for RTU, 10 for ASCII (Serial Line V1.02 §2.5.1.1).
	Bits int
	// Silence is the pause between frames; default 3.5 characters, above 19200 baud 1.75 ms
	// (§2.5.1.1). Negative: none, because the bytes do not come from a wire.
	Silence time.Duration
	// Turnaround is the pause after a broadcast (§2.4.1); default 100 ms.
	Turnaround time.Duration
	// Late is how long after an unanswered request on a line its answer may still arrive. Until
	// then, an answer to another request with the same unit and function could not be told apart
	// from it, so such a request is not sent. Default: six times the timeout of the unanswered
	// request.
	Late time.Duration
	// Timer is used for the pauses on a line; default runtime timers.
	Timer Waiter
	// Datagrams says that each Read and Write of the conn is one datagram with one frame (UDP). It
	// may be used with TCP and RTUOverTCP only.
	Datagrams bool
	// Tap sees every frame; nil: none. A Tap may be passed from one Link to the next.
	Tap *Tap
	// StatePool is a pool of the state the Link does not need between two transactions; nil: the
	// Link keeps its own.
	StatePool *StatePool
}

// Link carries out one transaction at a time over one connection or port. It is used by one
// goroutine at a time. The only concurrent call allowed is Close of the Conn, which ends a running
// Do. The Link never closes, reopens or repeats anything.
type Link struct {
	*transactionState // nil: no transaction is under way
	conn              Conn
	raw               syscall.RawConn // nil if conn has none
	framing           Framing
	opts              Options
	char              time.Duration // duration of one character on the wire

	transaction uint16
	within      <-chan struct{} // the context whose end is already being watched
	armed       time.Time       // TCP: the read deadline, which may be earlier than that of the request
	lost        error

	quiet time.Time // when the last byte in either direction ended
	dirty bool      // the line may not be silent
	owed  owed
}

// NewLink returns a Link over an open conn. It does no I/O.
func NewLink(conn Conn, framing Framing, opts Options) *Link {
	opts, char := opts.complete(framing)
	l := &Link{conn: conn, raw: rawOf(conn), framing: framing, opts: opts, char: char}
	// The state of a line before it was opened is unknown: it must be silent first (§2.5.1.1).
	l.dirty = framing.serial()
	opts.Tap.opened(framing)
	if opts.Datagrams {
		// Answers meant for a previous user of the port must not look like ours.
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

// Do sends r once and waits for its answer. It returns within the request's timeout (plus the time
// the frames take on a line, plus as much again while the line is not silent) or as soon as ctx
// ends. Its errors are those of Check (nothing was sent), *Exception, ErrTimeout, ErrOwed,
// ErrCorrupt and ErrMismatch. LinkLost tells whether the conn must be replaced, NotSent whether the
// request was sent. A broadcast returns an empty Response after the turnaround delay.
// ForceListenOnly returns one if nothing is received until the timeout.
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
	l.acquireState()
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
		l.releaseState()
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

// carry carries out requests that grid-x's client has no function for.
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

// noneDue reports whether err is silence and silence is the correct answer to the request.
func (l *Link) noneDue(err error) bool { return l.want.mute && silence(err) }

// silence reports whether err says that the request was sent and nothing was received until its
// timeout.
func silence(err error) bool {
	return errors.Is(err, ErrTimeout) && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrCorrupt) && !NotSent(err) && !LinkLost(err)
}

func word(b []byte, i int) uint16 { return Response{Data: b}.Register(i) }
