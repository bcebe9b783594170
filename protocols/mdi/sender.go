package mdi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

// Session is a gateway's session across its connections, of which there is one at a time. It is the
// state that an uplink keeps.
type Session struct {
	patience time.Duration

	mu     sync.Mutex
	client *Client
	sender *sender // of the present connection; nil if there is none
}

// NewSession returns a new session; cfg needs no Session.
func NewSession(cfg ClientConfig) *Session {
	_, _ = rand.Read(cfg.Session[:]) // never fails
	return &Session{patience: cfg.Patience, client: NewClient(cfg)}
}

// sender is one connection of a session. It implements uplink.Sender and Metered.
type sender struct {
	s      *Session
	line   *line
	hear   uplink.Callbacks
	kick   chan struct{}
	ready  chan struct{} // closed when records may be sent
	opened bool
	quiet  bool // Close was called
	next   int
	sends  map[int]chan Settled // each has capacity 1
}

// Open opens or resumes the session over a connection, which it takes over. It returns when records
// may be sent.
func (s *Session) Open(ctx context.Context, conn net.Conn, hear uplink.Callbacks) (uplink.Sender, error) {
	x := &sender{s: s, line: newLine(conn, s.patience), hear: hear, kick: make(chan struct{}, 1), ready: make(chan struct{}), sends: map[int]chan Settled{}}
	s.mu.Lock()
	if old := s.sender; old != nil { // the caller has given it up
		old.quiet = true
		old.line.end(errors.New("replaced by a new connection"))
	}
	s.sender = x
	x.do(s.client.Begin(time.Now()))
	s.mu.Unlock()
	go x.line.write()
	go x.line.read(x.take)
	go x.line.ticks(x.kick, x.due, x.tick)
	go x.wait()
	select {
	case <-x.ready:
		return x, nil
	case <-x.line.done:
		return nil, x.line.unopened()
	case <-ctx.Done():
		x.hush()
		x.line.end(ctx.Err())
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, &uplink.DeadlineError{What: "it accepts the connection but does not open the session: is it an MDI receiver?"}
		}
		return nil, fmt.Errorf("no answer to opening the session: %w", ctx.Err())
	}
}

// mine reports whether the session still uses this connection; its lock is held.
func (x *sender) mine() bool { return x.s.sender == x }

func (x *sender) take(m Message) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.mine() {
		x.do(x.s.client.Receive(time.Now(), m))
	}
}

func (x *sender) tick(now time.Time) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.mine() {
		x.do(x.s.client.Tick(now))
	}
}

func (x *sender) due() time.Time {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if !x.mine() {
		return time.Time{}
	}
	return x.s.client.Next()
}

// wait waits for the end of the connection and handles it.
func (x *sender) wait() {
	<-x.line.done
	x.s.mu.Lock()
	if x.mine() {
		x.s.client.Lost()
		x.s.sender = nil
	}
	tell := x.opened && !x.quiet && x.hear.Lost != nil
	x.s.mu.Unlock()
	if tell {
		x.hear.Lost(x.line.why())
	}
}

// do carries out the effects of the state machine; the lock of the session is held.
func (x *sender) do(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			x.line.send(e)
		case Ready:
			if !x.opened {
				x.opened = true
				close(x.ready)
			}
		case Settled:
			if done := x.sends[e.Key]; done != nil {
				delete(x.sends, e.Key)
				done <- e
			}
		case Run:
			x.run(e.Command)
		case Over:
			x.line.part(e.Err)
		}
	}
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// run passes a command on. The answer goes to the session, whatever connection it uses by then.
func (x *sender) run(m *Command) {
	answer := func(payload []byte, err error) {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		if effects := x.s.client.Answer(time.Now(), m.ID, payload, err); x.s.sender != nil {
			x.s.sender.do(effects)
		}
	}
	if x.hear.Command == nil {
		go answer(nil, errors.New("this gateway takes no commands"))
		return
	}
	command := uplink.Command{Actor: m.Actor, Method: m.Method, Payload: m.Payload, Answer: answer}
	go func() { // the answer may come at once, and needs the lock
		defer x.line.guard()
		x.hear.Command(command)
	}()
}

// Send implements uplink.Sender.
func (x *sender) Send(ctx context.Context, batch []record.Record) error {
	done := make(chan Settled, 1)
	x.s.mu.Lock()
	if !x.mine() || x.s.client.Window() == 0 {
		x.s.mu.Unlock()
		x.line.end(errors.New("the session is over"))
		return x.lost()
	}
	x.next++
	key := x.next
	x.sends[key] = done
	x.do(x.s.client.Submit(time.Now(), key, batch))
	x.s.mu.Unlock()
	select {
	case s := <-done:
		return outcome(s)
	case <-x.line.done:
		select {
		case s := <-done: // it came before the end
			return outcome(s)
		default:
			return x.lost()
		}
	case <-ctx.Done():
		x.line.end(ctx.Err()) // what is under way may have arrived: the next connection will tell
		return fmt.Errorf("no acknowledgement: %w", ctx.Err())
	}
}

func outcome(s Settled) error {
	if len(s.Refused) == 0 {
		return nil
	}
	return &uplink.RejectedError{Records: s.Refused, Taken: true}
}

func (x *sender) lost() error {
	if err := x.line.why(); err != nil {
		return err
	}
	return errors.New("the connection is closed")
}

// Traffic implements uplink.Metered, if the connection counts.
func (x *sender) Traffic() (sent, received uint64) {
	if m, ok := x.line.conn.(uplink.Metered); ok {
		return m.Traffic()
	}
	return 0, 0
}

func (x *sender) hush() {
	x.s.mu.Lock()
	x.quiet = true
	x.s.mu.Unlock()
}

// Close implements uplink.Sender.
func (x *sender) Close() error {
	x.s.mu.Lock()
	x.quiet = true
	if x.mine() {
		x.do(x.s.client.Close(time.Now()))
	}
	x.s.mu.Unlock()
	x.line.part(nil)
	select {
	case <-x.line.done:
	case <-time.After(parting):
		x.line.end(nil)
	}
	return nil
}
