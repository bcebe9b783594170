// Package mqttclient is a connection to an outside MQTT broker, 3.1.1 or 5. It subscribes,
// publishes, and reports its end. It does not reconnect: its user decides when to dial again. It
// keeps nothing for the next connection: messages that were not acknowledged must be sent again by
// the caller.
package mqttclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Client is an open connection. It is safe for concurrent use.
type Client struct {
	cfg  Config
	conn net.Conn
	out  chan []byte   // packets to be written
	room chan struct{} // one token for each publication under way
	done chan struct{} // closed at the end of the connection

	sent, received atomic.Uint64
	heard, spoken  atomic.Int64 // monotonic times, see since

	most   uint32 // largest packet that the broker accepts, in bytes; 0: no limit
	qos    byte   // the highest QoS of the broker
	retain bool   // the broker supports retained messages
	began  time.Time

	numbers bool // the broker supports subscription identifiers

	mu      sync.Mutex
	err     error // why the connection has ended
	closed  bool  // by Close
	last    uint16
	pending map[uint16]*wait
	owed    int // bytes of pending publications
	pulse   pulse
	doubles map[uint16]bool // packet ids of received QoS 2 messages that are not released yet
}

// wait is for the acknowledgement of one packet.
type wait struct {
	done chan error // has capacity 1
	tell func(error)
	qos  byte // of a publication; 0: a subscription
	size int  // its bytes
}

// waiting is the number of packets that may wait to be written.
const waiting = 256

// ErrLost is returned for everything under way when the connection ends.
var ErrLost = errors.New("the connection is lost")

// RefusedError is a refusal by the broker.
type RefusedError struct {
	Code   byte
	Reason string
}

// DialError is an error of Dial that occurred before anything was sent to a broker.
type DialError struct{ Err error }

func (u *DialError) Error() string { return u.Err.Error() }
func (u *DialError) Unwrap() error { return u.Err }

// NoAnswerError is the error if the peer accepts the connection and does not answer CONNECT in
// time. It is a context.DeadlineExceeded.
type NoAnswerError struct{}

func (*NoAnswerError) Error() string {
	return "it accepts the connection but does not answer CONNECT: is it an MQTT broker?"
}
func (*NoAnswerError) Unwrap() error { return context.DeadlineExceeded }

func (r *RefusedError) Error() string { return "the broker refuses the connection: " + r.Reason }

// Dial connects and subscribes. It gives up when ctx ends.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	k, err := dial(ctx, cfg)
	if err != nil {
		var u *DialError
		var m *NoAnswerError
		switch {
		case ctx.Err() == nil || errors.As(err, &m):
		case errors.As(err, &u):
			err = &DialError{ctx.Err()}
		default:
			err = ctx.Err()
		}
		return nil, fmt.Errorf("broker %s: %w", cfg.URL, err)
	}
	return k, nil
}

func dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	conn, err := cfg.open(ctx)
	if err != nil {
		return nil, &DialError{err}
	}
	k := &Client{
		cfg: cfg, conn: conn, out: make(chan []byte, waiting), done: make(chan struct{}), began: time.Now(), qos: 2, retain: true,
		pending: map[uint16]*wait{}, doubles: map[uint16]bool{}, pulse: newPulse(),
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	r, err := k.greet()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = &NoAnswerError{}
		}
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	go k.write()
	go k.read(r)
	if len(cfg.Subscriptions) > 0 {
		if err := k.subscribe(ctx, 0); err != nil {
			_ = k.Close()
			return nil, err
		}
	}
	return k, nil
}

// Publish sends m and returns when it is acknowledged: with QoS 0 when it is queued for writing,
// with 1 at the PUBACK, with 2 at the PUBCOMP. If ctx ends first, the broker may have the message
// nevertheless.
func (k *Client) Publish(ctx context.Context, m Message) error {
	done, err := k.Start(ctx, m)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start is the first half of Publish: it returns when m is queued for writing, in the order of the
// calls, which may have to wait for room in the window. The channel delivers the outcome, once.
func (k *Client) Start(ctx context.Context, m Message) (<-chan error, error) {
	w := &wait{done: make(chan error, 1), qos: min(m.QoS, k.qos), size: m.size()}
	if w.qos == 0 {
		w.done <- nil
		return w.done, k.send(ctx, m, 0, 0)
	}
	select {
	case k.room <- struct{}{}:
	case <-k.done:
		return nil, k.why()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	id, err := k.enter(w)
	if err != nil {
		<-k.room
		return nil, err
	}
	if err := k.send(ctx, m, id, w.qos); err != nil {
		k.settle(id, err)
		return nil, err
	}
	return w.done, nil
}

// Offer is Start without waiting: it fails where Start would wait.
func (k *Client) Offer(m Message) (<-chan error, error) {
	w := &wait{done: make(chan error, 1), qos: min(m.QoS, k.qos), size: m.size()}
	return w.done, k.put(m, w)
}

// Post sends m with QoS 0 or 1 without waiting for the broker or its acknowledgement. If tell is
// not nil, it is called with the outcome in a goroutine of the client and must not block; it is not
// called if Post fails.
func (k *Client) Post(m Message, tell func(error)) error {
	return k.put(m, &wait{done: make(chan error, 1), tell: tell, qos: min(m.QoS, k.qos, 1), size: m.size()})
}

// put sends m as described by w, if there is room.
func (k *Client) put(m Message, w *wait) error {
	if w.qos == 0 {
		p, err := k.publication(m, 0, 0)
		if err == nil {
			err = k.offer(p)
		}
		if err == nil {
			w.settle(nil)
		}
		return err
	}
	select {
	case k.room <- struct{}{}:
	default:
		return fmt.Errorf("%d messages are waiting", cap(k.room))
	}
	id, err := k.enter(w)
	if err != nil {
		<-k.room
		return err
	}
	p, err := k.publication(m, id, w.qos)
	if err == nil {
		err = k.offer(p)
	}
	if err != nil {
		k.forget(id)
	}
	return err
}

// Window returns how many publications may await acknowledgement at once, by Config and by the
// broker's limit.
func (k *Client) Window() int { return cap(k.room) }

// Subscribe adds subscriptions to those of Config. Only one call may run at a time.
func (k *Client) Subscribe(ctx context.Context, s ...Subscription) error {
	k.mu.Lock()
	from := len(k.cfg.Subscriptions)
	k.cfg.Subscriptions = slices.Concat(k.cfg.Subscriptions, s)
	k.mu.Unlock()
	if err := k.subscribe(ctx, from); err != nil {
		return fmt.Errorf("broker %s: %w", k.cfg.URL, err)
	}
	return nil
}

// Open reports whether the connection is open.
func (k *Client) Open() bool {
	select {
	case <-k.done:
		return false
	default:
		return true
	}
}

// Done returns a channel that is closed when the connection ends.
func (k *Client) Done() <-chan struct{} { return k.done }

// Traffic returns the bytes of MQTT that have passed, without TLS and TCP.
func (k *Client) Traffic() (sent, received uint64) { return k.sent.Load(), k.received.Load() }

// Close sends a DISCONNECT, so that the broker does not publish the will, and closes the
// connection. OnLost is not called for it. It implements io.Closer.
func (k *Client) Close() error {
	k.mu.Lock()
	again := k.closed
	k.closed = true
	k.mu.Unlock()
	if again {
		return nil
	}
	if k.Open() {
		_ = k.conn.SetWriteDeadline(time.Now().Add(goodbye))
		p, err := k.encode(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}, (*packets.Packet).DisconnectEncode)
		if err == nil {
			err = k.offer(p)
		}
		if err == nil {
			_ = k.offer(nil) // the writer ends after it
			select {
			case <-k.done:
			case <-time.After(goodbye):
			}
		}
	}
	k.end(ErrLost)
	return nil
}

// end ends the connection, once.
func (k *Client) end(err error) {
	k.mu.Lock()
	if k.err != nil {
		k.mu.Unlock()
		return
	}
	k.err = err
	tell := !k.closed
	pending := k.pending
	k.pending = map[uint16]*wait{}
	k.mu.Unlock()
	close(k.done)
	_ = k.conn.Close()
	for _, w := range pending {
		w.settle(k.why())
	}
	if tell {
		k.cfg.OnLost(err)
	}
}

func (k *Client) why() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil || errors.Is(k.err, ErrLost) {
		return ErrLost
	}
	return fmt.Errorf("%w: %w", ErrLost, k.err)
}

func (w *wait) settle(err error) {
	w.done <- err
	if w.tell != nil {
		w.tell(err)
	}
}

// enter assigns a free packet id to w.
func (k *Client) enter(w *wait) (uint16, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return 0, ErrLost
	}
	for range 1 << 16 {
		if k.last++; k.last != 0 && k.pending[k.last] == nil {
			k.pending[k.last] = w
			k.owed += w.size
			return k.last, nil
		}
	}
	return 0, errors.New("65,535 packets wait for an acknowledgement")
}

// settle delivers the outcome of the packet with this id, if it is awaited.
func (k *Client) settle(id uint16, err error) {
	if w := k.forget(id); w != nil {
		w.settle(err)
	}
}

func (k *Client) forget(id uint16) *wait {
	k.mu.Lock()
	w := k.pending[id]
	if w != nil {
		delete(k.pending, id)
		k.owed -= w.size
	}
	k.mu.Unlock()
	if w != nil && w.qos > 0 {
		<-k.room
	}
	return w
}

// pendingQoS returns the QoS of the publication with this id; 0: there is none.
func (k *Client) pendingQoS(id uint16) byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.pending[id]; w != nil {
		return w.qos
	}
	return 0
}
