package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
)

// reopen is the pause before a port that could not be opened, or was lost, is tried again.
const reopen = time.Second

// Line is a serial port on which a master asks.
type Line struct {
	Name    string         // as it is listed, "serial /dev/ttyS1" for instance
	Framing modbus.Framing // RTU or ASCII
	Baud    int
	Open    func() (modbus.Conn, error)
	// Said is called when the port was opened (nil) and whenever it could not be or was lost; by another goroutine. nil: nobody wants to know.
	Said func(error)
}

// Line serves a serial line in the background until Close. A port that is not there, or goes, is tried again for ever.
func (s *Server) Line(l Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if l.Said == nil {
		l.Said = func(error) {}
	}
	s.running.Go(func() { s.keep(l) })
	return nil
}

func (s *Server) keep(l Line) {
	for {
		err := s.serveLine(l)
		if s.over() {
			return
		}
		if err == nil {
			err = fmt.Errorf("%s: a request made the server panic", l.Name)
		}
		l.Said(err)
		select {
		case <-s.stop:
			return
		case <-time.After(reopen):
		}
	}
}

func (s *Server) serveLine(l Line) error {
	timer, err := serial.NewTimer()
	if err != nil {
		return err
	}
	defer func() { _ = timer.Close() }()
	port, err := l.Open()
	if err != nil {
		return err
	}
	m := newMaster(s, port, Door{Name: l.Name, Framing: l.Framing}, "")
	m.pace = &silence{timer: timer, pause: serial.Silence(l.Baud)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(net.ErrClosed, port.Close())
	}
	s.masters[m] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer s.forget(m)
	defer s.rescue(m)
	l.Said(nil)
	err = m.serve()
	m.end(err)
	return fmt.Errorf("%s: %w", l.Name, err)
}

func (s *Server) forget(m *Master) {
	m.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.masters, m)
}

// pacer keeps the pauses of a serial line.
type pacer interface {
	heard()        // something was received just now
	before() error // waits until an answer may begin
}

// silence is t3.5 between a request and its answer (Serial Line V1.02 §2.5.1.1).
type silence struct {
	timer *serial.Timer
	pause time.Duration
	last  atomic.Int64
}

func (p *silence) heard() { p.last.Store(time.Now().UnixNano()) }

func (p *silence) before() error {
	return p.timer.Wait(context.Background(), time.Until(time.Unix(0, p.last.Load()).Add(p.pause)))
}
