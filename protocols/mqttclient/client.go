// Package mqttclient is one connection to somebody else's MQTT broker, 3.1.1 or 5: it subscribes, publishes, and tells when it is
// over. It does not connect again: whoever uses it decides when. Nothing is kept for a next connection either: what was not
// acknowledged is its caller's to send again.
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

// Client is a connection that stands. Its methods may be called from any goroutine.
type Client struct {
	cfg  Config
	conn net.Conn
	out  chan []byte   // packets to be written
	room chan struct{} // one token for each publication under way
	done chan struct{} // closed when it is over

	sent, received atomic.Uint64
	heard, spoken  atomic.Int64 // monotonic times, see since

	most   uint32 // bytes of a packet that the broker takes; 0: any
	qos    byte   // the broker's highest
	retain bool   // the broker keeps messages
	began  time.Time

	numbers bool // the broker says whose a message is

	mu      sync.Mutex
	err     error // why it is over
	closed  bool  // by Close
	last    uint16
	pending map[uint16]*wait
	owed    int // bytes of what is pending
	pulse   pulse
	doubles map[uint16]bool // ids of QoS 2 that have come and are not released
}

// wait is for the acknowledgement of one packet.
type wait struct {
	done chan error // has room for one
	tell func(error)
	qos  byte // of a publication; 0: it is a subscription
	size int  // bytes of it
}

// waiting is how many packets may wait to be written.
const waiting = 256

// ErrLost is what everything fails with that was under way when the connection ended.
var ErrLost = errors.New("the connection is lost")

// Refused is the answer of a broker that understands and will not.
type Refused struct {
	Code   byte
	Reason string
}

// Unreached is why Dial did not come to the point of saying anything to a broker.
type Unreached struct{ Err error }

func (u *Unreached) Error() string { return u.Err.Error() }
func (u *Unreached) Unwrap() error { return u.Err }

// Mute is somebody who takes the connection and does not answer CONNECT in time: context.DeadlineExceeded.
type Mute struct{}

func (*Mute) Error() string {
	return "it takes the connection and does not answer CONNECT: is that an MQTT broker?"
}
func (*Mute) Unwrap() error { return context.DeadlineExceeded }

func (r *Refused) Error() string { return "the broker refuses it: " + r.Reason }

// Dial connects and subscribes, or says why it cannot, until ctx ends.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	k, err := dial(ctx, cfg)
	if err != nil {
		var u *Unreached
		var m *Mute
		switch {
		case ctx.Err() == nil || errors.As(err, &m):
		case errors.As(err, &u):
			err = &Unreached{ctx.Err()}
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
		return nil, &Unreached{err}
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
			err = &Mute{}
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

// Publish sends m and returns when the broker has acknowledged it: at QoS 0 when it waits to be written, at 1 with the PUBACK, at 2 with
// the PUBCOMP. When ctx ends first, the broker may have it nevertheless.
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

// Start is the first half of Publish: it returns when m waits to be written, in the order of the calls, which may take until there is
// room in the window. The channel tells the outcome, once.
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

// Offer is Start that waits for nothing: it fails where Start would wait.
func (k *Client) Offer(m Message) (<-chan error, error) {
	w := &wait{done: make(chan error, 1), qos: min(m.QoS, k.qos), size: m.size()}
	return w.done, k.put(m, w)
}

// Post sends m with QoS 0 or 1 and waits for nothing: neither for the broker nor for its acknowledgement. tell, if it is not nil, hears
// the outcome in a goroutine of the client, and must not block; it is not called if Post fails.
func (k *Client) Post(m Message, tell func(error)) error {
	return k.put(m, &wait{done: make(chan error, 1), tell: tell, qos: min(m.QoS, k.qos, 1), size: m.size()})
}

// put sends m as w says, if there is room.
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
		return fmt.Errorf("%d messages wait already", cap(k.room))
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

// Window is how many publications may wait for an acknowledgement at once, by Config and by what the broker bears.
func (k *Client) Window() int { return cap(k.room) }

// Subscribe adds subscriptions to those of Config. There is one call at a time.
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

// Open says whether the connection stands.
func (k *Client) Open() bool {
	select {
	case <-k.done:
		return false
	default:
		return true
	}
}

// Done is closed when the connection is over.
func (k *Client) Done() <-chan struct{} { return k.done }

// Traffic is how many bytes of MQTT have passed, without TLS and TCP.
func (k *Client) Traffic() (sent, received uint64) { return k.sent.Load(), k.received.Load() }

// Close says goodbye, lest the broker publish the will, and implements io.Closer. OnLost is not called for it.
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
			_ = k.offer(nil) // the writer ends behind it
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

// enter finds a free packet id for w.
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

// settle tells the outcome of the packet of this id, if anybody waits for it.
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

// pendingQoS is that of the publication of this id; 0 if there is none.
func (k *Client) pendingQoS(id uint16) byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.pending[id]; w != nil {
		return w.qos
	}
	return 0
}
