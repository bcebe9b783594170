package mdi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

const patience = 2 * time.Minute

// end is a sink on a port, and what it has accepted.
type end struct {
	*Sink
	address string

	mu       sync.Mutex
	taken    []string
	notices  []string
	outcomes chan string
	refuse   func(record.Record) string
}

func newEnd(t *testing.T, listen func(net.Listener) net.Listener, named bool) *end {
	t.Helper()
	e := &end{outcomes: make(chan string, 10)}
	e.Sink = NewSink(SinkConfig{
		Window: 4, Take: e.take, Named: named,
		Outcome: func(gateway string, id uint32, payload []byte, failed string) {
			e.outcomes <- fmt.Sprintf("%s %d %s%s", gateway, id, payload, failed)
		},
		Notice: func(text string) { e.mu.Lock(); e.notices = append(e.notices, text); e.mu.Unlock() },
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = l.Addr().String()
	if listen != nil {
		l = listen(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

func (e *end) take(gateway string, all []record.Record) (map[int]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	no := map[int]string{}
	for i, r := range all {
		if e.refuse != nil {
			if why := e.refuse(r); why != "" {
				no[i] = why
				continue
			}
		}
		e.taken = append(e.taken, fmt.Sprintf("%s %s %d", gateway, r.Track, r.Sequence))
	}
	return no, nil
}

// has checks that records 1..n of one track have arrived, once and in order.
func (e *end) has(t *testing.T, n int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("site tracks/meter %d", i+1))
	}
	if !slices.Equal(e.taken, want) {
		t.Fatalf("taken: %q", e.taken)
	}
}

func newSession(patience time.Duration) *Session {
	return NewSession(ClientConfig{Gateway: "site", Keepalive: time.Second, Patience: patience})
}

// dialled returns a connection to the sink, wrapped by around if that is not nil.
func (e *end) dialled(t *testing.T, around func(net.Conn) net.Conn) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	if around != nil {
		conn = around(conn)
	}
	return conn
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestRecordsAreTakenAndRefused(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		e := newEnd(t, nil, false)
		e.refuse = func(r record.Record) string {
			if r.Sequence == 4 {
				return "it has a bad taste"
			}
			return ""
		}
		x, err := newSession(patience).Open(soon(t), e.dialled(t, nil), uplink.Callbacks{})
		if err != nil {
			t.Fatal(err)
		}
		all := meterRecords(5)
		all[1].Fields = append(all[1].Fields, record.Field{ID: 1 << 20, Name: strings.Repeat("x", maxName+1)})
		err = x.Send(soon(t), all)
		var rejected *uplink.RejectedError
		if !errors.As(err, &rejected) || !rejected.Taken || len(rejected.Records) != 2 || rejected.Records[0].Index != 1 ||
			rejected.Records[1] != (uplink.Refusal{Index: 3, Why: "it has a bad taste"}) {
			t.Fatalf("%+v", err)
		}
		// What was accepted is not accepted again, the rest is.
		if err := x.Send(soon(t), meterRecords(3)); err != nil {
			t.Fatal(err)
		}
		_ = x.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		if fmt.Sprint(e.taken) != "[site tracks/meter 1 site tracks/meter 3 site tracks/meter 5 site tracks/meter 2]" {
			t.Errorf("%q", e.taken)
		}
	})
}

// A gateway that kept restarting has more boots in a batch than there are numbers, and two names
// for one number.
func TestManyBootsAndTracks(t *testing.T) {
	e := newEnd(t, nil, false)
	var boots []string
	e.refuse = func(r record.Record) string { boots = append(boots, r.Track+r.Boot); return "" }
	x, err := newSession(patience).Open(soon(t), e.dialled(t, nil), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var want []string
	for round := range 2 {
		all := meterRecords(700)
		for i := range all {
			all[i].Boot = fmt.Sprint("boot-", i)
			all[i].Sequence += uint64(700 * round)
			all[i].Track = []string{"tracks/a", "tracks/b"}[round]
			want = append(want, all[i].Track+all[i].Boot)
		}
		if err := x.Send(soon(t), all); err != nil {
			t.Fatal(err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(boots, want) {
		t.Errorf("%d records, %q …", len(boots), boots[:min(5, len(boots))])
	}
}

func TestCommands(t *testing.T) {
	e := newEnd(t, nil, false)
	if _, err := e.Command("site", "a", "Do", nil); err == nil {
		t.Error("a command for who is not there")
	}
	heard := make(chan uplink.Command, 1)
	x, err := newSession(patience).Open(soon(t), e.dialled(t, nil), uplink.Callbacks{Command: func(c uplink.Command) { heard <- c }})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for i, c := range []struct {
		payload string
		err     error
		want    string
	}{{`{"ok":true}`, nil, `site 0 {"ok":true}`}, {"", errors.New("the valve is stuck"), "site 1 the valve is stuck"}, {"", nil, "site 2 "}} {
		if id, err := e.Command("site", "field/plc", "Write", []byte("{}")); err != nil || id != uint32(i) {
			t.Fatal(id, err)
		}
		m := <-heard
		if m.Actor != "field/plc" || m.Method != "Write" || string(m.Payload) != "{}" {
			t.Errorf("%+v", m)
		}
		m.Answer([]byte(c.payload), c.err)
		if got := <-e.outcomes; got != c.want {
			t.Errorf("%q", got)
		}
	}
}

// A command that no handler accepts is answered.
func TestNoCommands(t *testing.T) {
	e := newEnd(t, nil, false)
	x, err := newSession(patience).Open(soon(t), e.dialled(t, nil), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	_, _ = e.Command("site", "a", "Do", nil)
	if got := <-e.outcomes; !strings.Contains(got, "takes no commands") {
		t.Error(got)
	}
}

// cut ends a connection after that many octets in one direction.
type cut struct {
	net.Conn
	up, down int // -1: never
	passed   *passed
}

type passed struct{ up, down atomic.Int64 }

func (c *cut) Write(b []byte) (int, error) {
	if c.up >= 0 && len(b) > c.up {
		_, _ = c.Conn.Write(b[:c.up])
		_ = c.Conn.Close()
		return 0, net.ErrClosed
	}
	if c.up >= 0 {
		c.up -= len(b)
	}
	c.passed.up.Add(int64(len(b)))
	return c.Conn.Write(b)
}

func (c *cut) Read(b []byte) (int, error) {
	if c.down == 0 {
		_ = c.Conn.Close()
		return 0, net.ErrClosed
	}
	if c.down > 0 {
		b = b[:min(len(b), c.down)]
	}
	n, err := c.Conn.Read(b)
	if c.down > 0 {
		c.down -= n
	}
	c.passed.down.Add(int64(n))
	return n, err
}

// deliver sends batches as an engine does: what is not confirmed is sent again, over a new
// connection.
func deliver(t *testing.T, e *end, s *Session, around func(n int, c net.Conn) net.Conn, batches ...[]record.Record) {
	t.Helper()
	var x uplink.Sender
	for tries := 0; len(batches) > 0; {
		if tries > 10 {
			t.Fatal("it does not get through")
		}
		if x == nil {
			n := tries
			tries++
			var err error
			if x, err = s.Open(soon(t), e.dialled(t, func(c net.Conn) net.Conn { return around(n, c) }), uplink.Callbacks{}); err != nil {
				x = nil
				continue
			}
		}
		if err := x.Send(soon(t), batches[0]); err != nil {
			_ = x.Close()
			x = nil
			continue
		}
		batches = batches[1:]
	}
	_ = x.Close()
}

func chunks(all []record.Record, n int) [][]record.Record {
	return slices.Collect(slices.Chunk(all, n))
}

func TestCutAtEachOctet(t *testing.T) {
	all := chunks(meterRecords(9), 3)
	var whole passed
	e := newEnd(t, nil, false)
	deliver(t, e, newSession(patience), func(_ int, c net.Conn) net.Conn { return &cut{c, -1, -1, &whole} }, all...)
	e.has(t, 9)
	if whole.up.Load() < 100 || whole.down.Load() < 50 {
		t.Fatalf("a session of %d and %d octets", whole.up.Load(), whole.down.Load())
	}
	cutAt := func(up, down int) {
		e := newEnd(t, nil, false)
		deliver(t, e, newSession(patience), func(n int, c net.Conn) net.Conn {
			if n == 0 {
				return &cut{c, up, down, &passed{}}
			}
			return c
		}, all...)
		e.has(t, 9)
	}
	for n := range int(whole.up.Load()) {
		cutAt(n, -1)
	}
	for n := range int(whole.down.Load()) {
		cutAt(-1, n)
	}
}

// dead swallows everything from the moment that on reports.
type dead struct {
	net.Conn
	after int // octets written
}

func (d *dead) Write(b []byte) (int, error) {
	if d.after -= len(b); d.after < 0 {
		return len(b), nil
	}
	return d.Conn.Write(b)
}

// A connection whose peer has disappeared is given up, and nothing is lost.
func TestHalfOpen(t *testing.T) {
	for _, after := range []int{0, 40, 200} {
		e := newEnd(t, nil, false)
		deliver(t, e, newSession(500*time.Millisecond), func(n int, c net.Conn) net.Conn {
			if n == 0 {
				return &dead{c, after}
			}
			return c
		}, chunks(meterRecords(9), 3)...)
		e.has(t, 9)
	}
}

// slow lets one octet through at a time.
type slow struct{ net.Conn }

func (s slow) Read(b []byte) (int, error) { return s.Conn.Read(b[:1]) }

func (s slow) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := s.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func TestOneOctetAtATime(t *testing.T) {
	e := newEnd(t, func(l net.Listener) net.Listener { return slowly{l} }, false)
	deliver(t, e, newSession(patience), func(_ int, c net.Conn) net.Conn { return slow{c} }, chunks(meterRecords(9), 3)...)
	e.has(t, 9)
}

type slowly struct{ net.Listener }

func (s slowly) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	return slow{c}, err
}

// While nothing is sent, both sides receive keepalives.
func TestIdle(t *testing.T) {
	e := newEnd(t, nil, false)
	lost := make(chan error, 1)
	x, err := newSession(patience).Open(soon(t), e.dialled(t, nil), uplink.Callbacks{Lost: func(err error) { lost <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	select {
	case err := <-lost:
		t.Fatal(err)
	case <-time.After(4 * time.Second): // longer than either side tolerates silence
	}
	if err := x.Send(soon(t), meterRecords(1)); err != nil {
		t.Error(err)
	}
}

// If a gateway opens a second connection, the first ends, and a sender on it gets an error.
func TestDuplicateResume(t *testing.T) {
	e := newEnd(t, nil, false)
	lost := make(chan error, 2)
	hear := uplink.Callbacks{Lost: func(err error) { lost <- err }}
	one, two := newSession(patience), newSession(patience)
	a, err := one.Open(soon(t), e.dialled(t, nil), hear)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Send(soon(t), meterRecords(3)); err != nil {
		t.Fatal(err)
	}
	// A restarted process, or a copy of the gateway.
	b, err := two.Open(soon(t), e.dialled(t, nil), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	var closed *ClosedError
	if err := <-lost; !errors.As(err, &closed) || closed.Reason != Replaced {
		t.Errorf("%v", err)
	}
	if err := a.Send(soon(t), meterRecords(1)); err == nil {
		t.Error("sent over a connection that is over")
	}
	if err := b.Send(soon(t), meterRecords(5)); err != nil {
		t.Fatal(err)
	}
	e.has(t, 5)
	// The same session twice at once: the last one stays.
	c, err := two.Open(soon(t), e.dialled(t, nil), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Send(soon(t), meterRecords(6)); err == nil {
		t.Error("sent over a connection that was given up")
	}
	if err := c.Send(soon(t), meterRecords(6)); err != nil {
		t.Fatal(err)
	}
	e.has(t, 6)
	_ = c.Close()
	_ = b.Close()
	_ = a.Close()
}

// Peers with another protocol are disconnected and do not affect others.
func TestStrangers(t *testing.T) {
	e := newEnd(t, nil, false)
	keepalive, _ := Encode(&Keepalive{})
	badVersion, _ := Encode(&Opened{Version: 1, Window: 1})
	for _, said := range [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n"), make([]byte, 100), frame(nil, keepalive), frame(nil, badVersion), frame(nil, []byte{0xff})} {
		c := e.dialled(t, nil)
		_, _ = c.Write(said)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		for buf := make([]byte, 100); ; {
			if _, err := c.Read(buf); err != nil {
				if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
					t.Errorf("%q: %v", said, err)
				}
				break
			}
		}
		c.Close()
	}
	deliver(t, e, newSession(patience), func(_ int, c net.Conn) net.Conn { return c }, meterRecords(3))
	e.has(t, 3)
}
