package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"gatewayd/protocols/crowd"
)

// shakeTime is how long a TLS handshake may take.
const shakeTime = 10 * time.Second

// accept accepts connections until the listener is closed. A failing Accept (mostly a lack of
// descriptors) is retried forever with a growing pause: masters that disconnect free descriptors.
func (s *Server) accept(e *entry) {
	pause := time.Duration(0)
	for {
		c, err := e.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(c, e)
			continue
		case errors.Is(err, net.ErrClosed) || s.over():
			return
		}
		s.counts.acceptErrors.Add(1)
		if pause == 0 {
			s.log().Warn("modbus: cannot accept a connection, trying again", "door", e.door.Load().Name, "err", err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-s.stop:
			return
		case <-time.After(pause):
		}
	}
}

func (s *Server) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// admit starts to serve a connection unless a limit is reached.
func (s *Server) admit(c net.Conn, e *entry) {
	from, d := crowd.Of(c.RemoteAddr()), *e.door.Load()
	if d.keys != nil {
		c = tls.Server(c, d.keys.config)
	}
	m := newMaster(s, c, d, c.RemoteAddr().String())
	m.entry = e
	if why := s.enter(m, from); why != nil {
		s.counts.refused.Add(1)
		s.log().Debug("modbus: connection refused", "door", d.Name, "remote", m.address, "err", why)
		_ = c.Close()
		return
	}
	go func() {
		defer s.running.Done()
		defer s.leave(m, from)
		defer s.rescue(m)
		if err := s.shake(m, c); err != nil {
			s.stranger(m, err)
			return
		}
		m.end(m.serve())
	}()
}

func (s *Server) enter(m *Master, from netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, open := s.doors[m.entry]
	cfg := s.settings.Load()
	switch {
	case s.closed || !open:
		return net.ErrClosed
	case m.entry.door.Load().Name != m.door.Name:
		return errors.New("the settings of this listener have just changed")
	case s.conns >= cfg.Masters:
		return fmt.Errorf("too many masters: %d are connected", s.conns)
	case s.perAddr[from] >= cfg.PerAddress:
		return fmt.Errorf("too many masters: %d are connected from %v", s.perAddr[from], from)
	}
	s.masters[m] = struct{}{}
	s.perAddr[from]++
	s.conns++
	s.running.Add(1)
	s.counts.accepted.Add(1)
	return nil
}

func (s *Server) leave(m *Master, from netip.Prefix) {
	m.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.masters, m)
	s.conns--
	if s.perAddr[from]--; s.perAddr[from] <= 0 {
		delete(s.perAddr, from)
	}
}

// rescue limits the effect of a panic to the connection that caused it.
func (s *Server) rescue(m *Master) {
	if p := recover(); p != nil {
		s.counts.panics.Add(1)
		s.log().Error("modbus: a request made the server panic; only its connection is closed",
			"door", m.door.Name, "remote", m.address, "panic", p, "stack", string(debug.Stack()))
	}
}

// stranger counts a connection whose handshake failed, and logs some of them: a port exposed to the
// internet will be found, and repeated attempts must not fill the log.
func (s *Server) stranger(m *Master, err error) {
	s.counts.strangers.Add(1)
	s.mu.Lock()
	untold, tell := s.complaints.Allow("handshake", time.Since(s.made))
	s.mu.Unlock()
	if !tell {
		return
	}
	args := []any{"door", m.door.Name, "remote", m.address, "err", err}
	if untold > 0 {
		args = append(args, "untold", untold)
	}
	s.log().Info("modbus: TLS handshake failed", args...)
}

// shake performs the handshake of a TLS connection and determines the master's role.
func (s *Server) shake(m *Master, c net.Conn) error {
	secure, ok := c.(interface {
		HandshakeContext(context.Context) error
		ConnectionState() tls.ConnectionState
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shakeTime)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	state := secure.ConnectionState()
	role, err := RoleOf(state)
	if err != nil {
		return err
	}
	var who any
	if admit := s.settings.Load().Admit; admit != nil && len(state.PeerCertificates) > 0 {
		if who, err = admit(state.PeerCertificates[0], m.address); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.role, m.proven, m.who = role, len(state.PeerCertificates) > 0, who
	return nil
}
