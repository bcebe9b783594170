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

// reopen is the pause before a port that could not be opened, or was lost, is opened again.
const reopen = time.Second

// Line is a serial port to which a master is connected.
type Line struct {
	Name    string         // as displayed, for instance "serial /dev/ttyS1"
	Framing modbus.Framing // RTU or ASCII
	Baud    int
	Open    func() (modbus.Conn, error)
	// Said is called by another goroutine when the port was opened (nil), and whenever it could not
	// be opened or was lost; nil: not called.
	Said func(error)
}

// attendance is a line that is being served.
type attendance struct {
	port   Port // as passed to Change
	line   Line
	stop   chan struct{}
	done   chan struct{}
	ended  bool    // guarded by Server.mu
	master *Master // while the port is open; guarded by Server.mu
}

// Line serves a serial line in the background until Close. Opening a port that does not exist or
// was lost is retried forever.
func (s *Server) Line(l Line) error {
	_, err := s.attend(l)
	return err
}

func (s *Server) attend(l Line) (*attendance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if l.Said == nil {
		l.Said = func(error) {}
	}
	a := &attendance{line: l, stop: make(chan struct{}), done: make(chan struct{})}
	s.running.Go(func() {
		defer close(a.done)
		s.keep(a)
	})
	return a, nil
}

// leaveLine stops serving a line and waits until its port is closed.
func (s *Server) leaveLine(a *attendance) {
	s.mu.Lock()
	a.ended = true
	close(a.stop)
	if a.master != nil {
		a.master.close()
	}
	s.mu.Unlock()
	<-a.done
}

func (s *Server) keep(a *attendance) {
	for {
		err := s.serveLine(a)
		s.mu.Lock()
		over := s.closed || a.ended
		s.mu.Unlock()
		if over {
			return
		}
		if err == nil {
			err = fmt.Errorf("%s: a request made the server panic", a.line.Name)
		}
		a.line.Said(err)
		select {
		case <-s.stop:
			return
		case <-a.stop:
			return
		case <-time.After(reopen):
		}
	}
}

func (s *Server) serveLine(a *attendance) error {
	l := a.line
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
	if s.closed || a.ended {
		s.mu.Unlock()
		return errors.Join(net.ErrClosed, port.Close())
	}
	a.master = m
	s.masters[m] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer s.forget(a, m)
	defer s.rescue(m)
	l.Said(nil)
	err = m.serve()
	m.end(err)
	return fmt.Errorf("%s: %w", l.Name, err)
}

func (s *Server) forget(a *attendance, m *Master) {
	m.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	a.master = nil
	delete(s.masters, m)
}

// pacer keeps the pauses of a serial line.
type pacer interface {
	heard()        // something was just received
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
