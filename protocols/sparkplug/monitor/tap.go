package monitor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A Tap is an address for a node to connect to: it forwards everything to the server and reports it
// to a Monitor (MQTT 3.1.1, without TLS). Messages sent in both directions at the same time have no
// order, so it makes the Monitor lenient about messages that cross.
type Tap struct {
	l        net.Listener
	server   string
	monitors *Shared
	wait     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	refuse bool
	left   int // bytes from the node until the connection is cut; negative: no limit
}

// Shared is a Monitor used by several Taps, one for each server of a node.
type Shared struct {
	mu sync.Mutex
	*Monitor

	last *side // the connection of the latest message
}

// Share prepares m for several Taps.
func Share(m *Monitor) *Shared {
	m.crossing = true
	return &Shared{Monitor: m}
}

// Do calls f while nothing is reported.
func (s *Shared) Do(f func(m *Monitor)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.Monitor)
}

// NewTap listens on a free port of 127.0.0.1.
func NewTap(m *Shared, server string) (*Tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{l: l, server: server, monitors: m, conns: map[net.Conn]bool{}, left: -1}
	t.wait.Go(t.accept)
	return t, nil
}

// Address returns the address for the node to connect to.
func (t *Tap) Address() string { return t.l.Addr().String() }

// Close closes the Tap and all connections.
func (t *Tap) Close() error {
	err := t.l.Close()
	t.Cut()
	t.wait.Wait()
	return err
}

// Cut ends all connections.
func (t *Tap) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		_ = c.Close()
	}
}

// CutAfter ends the connection after that many more bytes from the node, even within a message.
func (t *Tap) CutAfter(bytes int) {
	t.mu.Lock()
	t.left = bytes
	t.mu.Unlock()
}

// Refuse makes new connections end at their CONNECT, or stops that.
func (t *Tap) Refuse(yes bool) {
	t.mu.Lock()
	t.refuse = yes
	t.mu.Unlock()
}

func (t *Tap) accept() {
	for {
		c, err := t.l.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		refuse := t.refuse
		t.mu.Unlock()
		up, err := net.Dial("tcp", t.server)
		if err != nil {
			_ = c.Close()
			continue
		}
		t.enter(c, up)
		s := &side{tap: t, node: c, server: up, ended: make(chan struct{})}
		if refuse {
			t.wait.Go(s.refuse)
			continue
		}
		var both sync.WaitGroup
		both.Go(func() { s.pass(c, up, s.said) })
		both.Go(func() { s.pass(up, c, s.told) })
		t.wait.Go(func() { both.Wait(); s.end() })
	}
}

func (t *Tap) enter(all ...net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range all {
		t.conns[c] = true
	}
}

// spend uses up bytes that the node sends, and returns how many of them are forwarded.
func (t *Tap) spend(n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left < 0 {
		return n
	}
	if n < t.left {
		t.left -= n
		return n
	}
	n = t.left
	t.left = -1
	return n
}

// A side is one connection of a node.
type side struct {
	tap          *Tap
	node, server net.Conn
	ended        chan struct{}
}

// pass forwards packets, each after reporting it.
func (s *side) pass(from, to net.Conn, tell func(first byte, body []byte)) {
	defer s.node.Close()
	defer s.server.Close()
	r := bufio.NewReader(from)
	for {
		whole, body, err := packet(r)
		if err != nil {
			return
		}
		n := len(whole)
		if from == s.node {
			n = s.tap.spend(n)
		}
		if n == len(whole) || whole[0]>>4 == 1 && from == s.node { // a CONNECT counts even if it is cut
			tell(whole[0], body)
		}
		if _, err := to.Write(whole[:n]); err != nil || n < len(whole) {
			return
		}
	}
}

// refuse reads the CONNECT and no more.
func (s *side) refuse() {
	if whole, body, err := packet(bufio.NewReader(s.node)); err == nil {
		s.said(whole[0], body)
	}
	_ = s.node.Close()
	_ = s.server.Close()
	s.end()
}

func (s *side) end() {
	s.tap.monitors.Do(func(m *Monitor) {
		if m.open[s.tap.server] {
			m.Closed()
		}
	})
	close(s.ended)
}

// patience is the time limit for a node to give up a connection, as seen here.
const patience = 5 * time.Second

// Rest waits until the connection of the latest message has ended, as far as that can be seen here.
func (s *Shared) Rest() {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last != nil {
		select {
		case <-last.ended:
		case <-time.After(patience):
		}
	}
}

// begin is called at a CONNECT, and waits until the previous connection has ended.
func (s *side) begin() {
	shared := s.tap.monitors
	shared.Rest()
	shared.mu.Lock()
	shared.last = s
	shared.mu.Unlock()
}

// packet reads one packet and returns all of it, and what follows its fixed header.
func packet(r *bufio.Reader) (whole, body []byte, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, nil, err
	}
	whole = []byte{first}
	n, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, nil, err
		}
		whole = append(whole, b)
		n |= int(b&0x7F) << shift
		if shift += 7; b < 0x80 {
			break
		}
		if shift > 21 {
			return nil, nil, errors.New("no MQTT")
		}
	}
	head := len(whole)
	whole = append(whole, make([]byte, n)...)
	_, err = io.ReadFull(r, whole[head:])
	return whole, whole[head:], err
}

func (s *side) said(first byte, body []byte) {
	if first>>4 == 1 {
		s.begin()
	}
	s.tap.monitors.Do(func(m *Monitor) {
		switch first >> 4 {
		case 1:
			if c, ok := parseConnect(body); ok {
				m.Connected(s.tap.server, c)
			}
		case 3:
			topic, qos, payload := publication(first, body)
			m.Published(topic, qos, first&1 != 0, payload)
		case 8:
			f := fields{b: body[2:]}
			for len(f.b) > 0 {
				topic := string(f.text())
				m.Subscribed(topic, f.byte())
			}
		case 14:
			m.Disconnected(false)
		}
	})
}

func (s *side) told(first byte, body []byte) {
	if first>>4 != 3 {
		return
	}
	topic, _, payload := publication(first, body)
	s.tap.monitors.Do(func(m *Monitor) { m.Told(topic, first&1 != 0, payload) })
}

func publication(first byte, body []byte) (topic string, qos byte, payload []byte) {
	f := fields{b: body}
	topic, qos = string(f.text()), first>>1&3
	if qos > 0 {
		f.take(2)
	}
	return topic, qos, f.b
}

func parseConnect(body []byte) (c Connect, ok bool) {
	f := fields{b: body}
	f.text()
	c.Version = f.byte()
	flags := f.byte()
	f.take(2)
	f.text() // client id
	c.Clean, c.Will, c.WillQoS, c.WillRetain = flags&2 != 0, flags&4 != 0, flags>>3&3, flags&0x20 != 0
	if c.Will && c.Version == 4 {
		c.WillTopic = string(f.text())
		c.WillPayload = f.text()
	}
	return c, !f.short
}

// fields reads the parts of a packet.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.short, n = true, len(f.b)
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}

func (f *fields) byte() byte {
	if b := f.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (f *fields) text() []byte {
	b := f.take(2)
	if len(b) < 2 {
		return nil
	}
	return f.take(int(binary.BigEndian.Uint16(b)))
}
