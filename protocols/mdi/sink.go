package mdi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gatewayd/protocols/record"
)

// Sink serves gateways: a Receiver with its connections.
type Sink struct {
	cfg SinkConfig

	mu       sync.Mutex
	receiver *Receiver
	conns    map[*sinkConn]bool
	closed   bool
}

// SinkConfig configures a Sink. Its functions are called one at a time and must not call the sink.
type SinkConfig struct {
	Window int // batches that a gateway may have under way; 1..64
	// Take stores records, none of which was accepted before. See ReceiverConfig.
	Take func(gateway string, records []record.Record) (refused map[int]string, err error)
	// Remember is ReceiverConfig.Remember.
	Remember func(taken []Seen, all func() []Seen) error
	// Outcome is called with the outcome of a command; it may be nil.
	Outcome func(gateway string, id uint32, payload []byte, failed string)
	// Notice is called with messages for people; it may be nil.
	Notice func(text string)
	// Named means that a gateway's certificate must carry its name.
	Named bool
}

type sinkConn struct {
	sink *Sink
	line *line
	conn *ServerConn
	kick chan struct{}
}

const (
	maxConns      = 4096
	handshakeTime = 10 * time.Second
	writeTime     = 30 * time.Second
)

// NewSink returns a sink without memory.
func NewSink(cfg SinkConfig) *Sink {
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	return &Sink{cfg: cfg, receiver: NewReceiver(ReceiverConfig{Window: cfg.Window, Take: cfg.Take, Remember: cfg.Remember}), conns: map[*sinkConn]bool{}}
}

// Recall restores what a former life has accepted. The sink must not have served any gateway yet.
func (s *Sink) Recall(all []Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receiver.Recall(all)
}

// Serve accepts connections until ctx ends; it then closes l and all connections. It may be called
// again afterwards: what was accepted is remembered.
func (s *Sink) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer s.close()
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors; others will be freed
			s.notice("accept: %v", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		go s.serve(conn)
	}
}

func (s *Sink) notice(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Notice(fmt.Sprintf(format, args...))
}

// close sends Close on all connections and waits until it is sent.
func (s *Sink) close() {
	s.mu.Lock()
	s.closed = true
	var all []*sinkConn
	for c := range s.conns {
		all = append(all, c)
		c.do(c.conn.End(Done, "the receiver is stopping"))
	}
	s.mu.Unlock()
	for _, c := range all {
		<-c.line.done
	}
}

func (s *Sink) serve(conn net.Conn) {
	defer conn.Close()
	var welcome func(string) error
	if t, ok := conn.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			s.notice("%s: TLS: %v", conn.RemoteAddr(), err)
			return
		}
		if s.cfg.Named {
			welcome = func(gateway string) error { return named(t.ConnectionState(), gateway) }
		}
	}
	c := &sinkConn{sink: s, line: newLine(conn, writeTime), kick: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.closed || len(s.conns) >= maxConns {
		s.mu.Unlock()
		return
	}
	c.conn = s.receiver.Accept(time.Now(), welcome)
	s.conns[c] = true
	s.mu.Unlock()
	go c.line.write()
	go c.line.ticks(c.kick, c.due, c.tick)
	c.line.read(c.take)
	<-c.line.done
	s.mu.Lock()
	defer s.mu.Unlock()
	c.conn.Lost()
	delete(s.conns, c)
	s.cfg.Notice(fmt.Sprintf("%s %s: %v", conn.RemoteAddr(), c.conn.Gateway(), c.line.why()))
}

// named returns why a certificate is not valid for a gateway.
func named(state tls.ConnectionState, gateway string) error {
	for _, cert := range state.PeerCertificates[:min(1, len(state.PeerCertificates))] {
		if cert.Subject.CommonName == gateway || gateway != "" && cert.VerifyHostname(gateway) == nil {
			return nil
		}
	}
	return fmt.Errorf("the certificate is not for gateway %q", gateway)
}

func (c *sinkConn) take(m Message) {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.do(c.conn.Receive(time.Now(), m))
}

func (c *sinkConn) tick(now time.Time) {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.do(c.conn.Tick(now))
}

func (c *sinkConn) due() time.Time {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	return c.conn.Next()
}

// do carries out the effects of the state machine; the lock of the sink is held.
func (c *sinkConn) do(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			c.line.send(e)
		case Opens:
			c.sink.cfg.Notice(fmt.Sprintf("%s %s: %s", c.line.conn.RemoteAddr(), e.Gateway, map[bool]string{false: "opened", true: "resumed"}[e.Resumed]))
			select {
			case c.kick <- struct{}{}: // its keepalive is known now
			default:
			}
		case Evict:
			for other := range c.sink.conns {
				if other.conn == e.ServerConn {
					other.do(other.conn.End(Replaced, "the gateway has opened another connection"))
				}
			}
		case Answered:
			if c.sink.cfg.Outcome != nil {
				c.sink.cfg.Outcome(c.conn.Gateway(), e.ID, e.Payload, e.Failed)
			}
		case Renumbered:
			c.sink.cfg.Notice(fmt.Sprintf("%s: %s numbers its records from 1 again", c.conn.Gateway(), e.Track))
		case Over:
			c.line.part(e.Err)
		}
	}
}

// Command sends a command to a connected gateway. Outcome is called with the result, under the id.
func (s *Sink) Command(gateway, actor, method string, payload []byte) (id uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.conn.Gateway() != gateway {
			continue
		}
		id, effects, err := c.conn.Command(actor, method, payload)
		if err == nil {
			c.do(effects)
		}
		return id, err
	}
	return 0, fmt.Errorf("gateway %q is not connected", gateway)
}
