package server

import (
	"sync/atomic"
	"time"
)

type counters struct {
	accepted, refused, strangers, acceptErrors   atomic.Uint64
	cutIdle, cutSlow, cutGarbage, broken, panics atomic.Uint64
	requests, exceptions, garbage                atomic.Uint64
}

// Counts are what a Server has seen since it was made.
type Counts struct {
	Accepted   uint64 // connections
	Refused    uint64 // connections beyond the limits
	Strangers  uint64 // connections without a good TLS handshake
	Idle       uint64 // connections cut because they brought no request for too long
	Slow       uint64 // connections cut because they did not take their answers
	Garbled    uint64 // connections cut because of bytes that are no Modbus
	Broken     uint64 // connections that ended in an error of the network
	Panics     uint64 // connections that made the server panic
	Unaccepted uint64 // failures to accept a connection
	Requests   uint64
	Exceptions uint64 // requests answered by one
	Garbage    uint64 // bytes that belonged to no request
}

// Counts tells what has happened so far.
func (s *Server) Counts() Counts {
	c := &s.counts
	return Counts{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Strangers: c.strangers.Load(), Idle: c.cutIdle.Load(),
		Slow: c.cutSlow.Load(), Garbled: c.cutGarbage.Load(), Broken: c.broken.Load(), Panics: c.panics.Load(),
		Unaccepted: c.acceptErrors.Load(), Requests: c.requests.Load(), Exceptions: c.exceptions.Load(), Garbage: c.garbage.Load(),
	}
}

// Info is what is known of a master.
type Info struct {
	Door       string
	Address    string
	Role       string // proven by its certificate; empty: none
	Since      time.Time
	Last       time.Time // when it asked last; zero: never
	Requests   uint64
	Exceptions uint64
	Garbage    uint64
	Open       int // requests under way
}

// Info tells about the master.
func (m *Master) Info() Info {
	i := Info{
		Door: m.door.Name, Address: m.address, Since: m.since,
		Requests: m.requests.Load(), Exceptions: m.exceptions.Load(), Garbage: m.garbage.Load(),
	}
	if at := m.last.Load(); at != 0 {
		i.Last = time.Unix(0, at)
	}
	m.mu.Lock()
	i.Open, i.Role = m.open, m.role
	m.mu.Unlock()
	return i
}

// Masters lists who is connected, in no order.
func (s *Server) Masters() []Info {
	s.mu.Lock()
	all := make([]*Master, 0, len(s.masters))
	for m := range s.masters {
		all = append(all, m)
	}
	s.mu.Unlock()
	infos := make([]Info, len(all))
	for i, m := range all {
		infos[i] = m.Info()
	}
	return infos
}
