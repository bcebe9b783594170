package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
)

// Plant is the set of devices behind one listener or line. It is safe for concurrent use.
type Plant struct{ devices [256]atomic.Pointer[Device] }

// NewPlant returns a plant with these devices, whose units must differ.
func NewPlant(devices ...*Device) *Plant {
	p := &Plant{}
	for _, d := range devices {
		p.Add(d)
	}
	return p
}

// Add adds a device to the plant, replacing one with the same unit.
func (p *Plant) Add(d *Device) { p.devices[d.unit].Store(d) }

// Remove disconnects a unit: on a line it no longer answers; over TCP the answer is exception 11,
// as from a gateway.
func (p *Plant) Remove(unit uint8) { p.devices[unit].Store(nil) }

// Device returns the device of a unit, or nil.
func (p *Plant) Device(unit uint8) *Device { return p.devices[unit].Load() }

// ServeTCP serves Modbus TCP until ctx ends (nil) or the listener fails. It closes the listener and
// all connections before it returns.
func (p *Plant) ServeTCP(ctx context.Context, l net.Listener) error {
	return p.Serve(ctx, l, modbus.TCP)
}

// Serve is like ServeTCP, with another framing on the connections.
func (p *Plant) Serve(ctx context.Context, l net.Listener, f modbus.Framing) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("simulator: accept: %w", err)
		}
		all.Go(func() { _ = p.ServeStream(ctx, conn, f) })
	}
}

// ServeStream serves one line (RTU, ASCII) or connection until ctx ends or the other side has
// closed it (both nil), or it fails. It closes conn before it returns. On a line, requests for a
// unit that does not exist are not answered; unit 0 is a broadcast to all.
func (p *Plant) ServeStream(ctx context.Context, conn io.ReadWriteCloser, f modbus.Framing) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{plant: p, conn: conn, framing: f, ctx: ctx, requests: modbus.NewRequestReader(conn, f)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := s.serve()
	over := ctx.Err() != nil
	cancel()
	s.late.Wait()
	if stop() {
		_ = conn.Close()
	}
	if over || errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// session is one client's connection or one line.
type session struct {
	plant    *Plant
	conn     io.ReadWriteCloser
	framing  modbus.Framing
	ctx      context.Context
	requests *modbus.RequestReader
	out      []byte // answers not yet written

	writing sync.Mutex
	late    sync.WaitGroup
}

var errHangup = fmt.Errorf("simulator: hung up: %w", io.EOF)

func (s *session) serve() error {
	for {
		q, err := s.requests.Next()
		if err != nil {
			return err
		}
		if err := s.handle(q); err != nil {
			return err
		}
		if len(s.out) > 0 && !s.requests.Pending() {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
}

func (s *session) handle(q modbus.Query) error {
	if s.framing != modbus.TCP && q.Unit == 0 {
		for i := range s.plant.devices {
			if d := s.plant.Device(uint8(i)); d != nil {
				d.answer(q, s.framing, true)
			}
		}
		return nil
	}
	d := s.plant.Device(q.Unit)
	if s.framing == modbus.RTU || s.framing == modbus.ASCII {
		s.plant.overhear(d)
	}
	if d == nil {
		if s.framing == modbus.TCP {
			pdu := modbus.AppendException(nil, q.Function, modbus.GatewayTarget)
			s.out = modbus.AppendFrame(s.out, s.framing, q.Transaction, q.Unit, pdu)
		}
		return nil
	}
	return s.send(d.answer(q, s.framing, false))
}

// overhear counts a frame on the line that is addressed to one device at all other devices.
func (p *Plant) overhear(but *Device) {
	for i := range p.devices {
		if d := p.devices[i].Load(); d != nil && d != but {
			d.mu.Lock()
			d.service.desk.heard++
			d.mu.Unlock()
		}
	}
}

// send sends an answer according to the device's behaviour. A healthy device's answers to pipelined
// requests are sent in one write.
func (s *session) send(r reply) error {
	b := r.behaviour
	if b.Late > 0 && len(r.frame) > 0 {
		s.late.Go(func() {
			if s.sleep(b.Late) {
				_ = s.write(r)
			}
		})
		return nil
	}
	if b.Delay == 0 && b.Pieces == 0 && !b.Hangup {
		s.out = append(s.out, r.frame...)
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	if b.Delay > 0 && !s.sleep(b.Delay) {
		return s.ctx.Err()
	}
	if err := s.write(r); err != nil {
		return err
	}
	if b.Hangup {
		return errHangup
	}
	return nil
}

func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.write(reply{frame: s.out})
	s.out = s.out[:0]
	return err
}

func (s *session) write(r reply) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	piece := r.behaviour.Pieces
	if piece <= 0 {
		piece = max(len(r.frame), 1)
	}
	for rest := r.frame; len(rest) > 0; {
		n := min(piece, len(rest))
		if _, err := s.conn.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		if len(rest) > 0 && r.behaviour.Pause > 0 && !s.sleep(r.behaviour.Pause) {
			return s.ctx.Err()
		}
	}
	return nil
}

func (s *session) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
