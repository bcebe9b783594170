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

// Counts are the totals of a Server since it was created.
type Counts struct {
	Accepted   uint64 // connections
	Refused    uint64 // connections beyond the limits
	Strangers  uint64 // connections whose TLS handshake failed
	Idle       uint64 // connections closed because no request arrived for too long
	Slow       uint64 // connections closed because the master did not read its answers
	Garbled    uint64 // connections closed because of bytes that are not Modbus
	Broken     uint64 // connections that ended with a network error
	Panics     uint64 // connections that made the server panic
	Unaccepted uint64 // failures to accept a connection
	Requests   uint64
	Exceptions uint64 // requests answered with an exception
	Garbage    uint64 // bytes that belonged to no request
}

// Counts returns the totals so far.
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
	Last       time.Time // time of its last request; zero: none
	Requests   uint64
	Exceptions uint64
	Garbage    uint64
	Open       int // requests under way
}

// Info returns what is known of the master.
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

// Masters returns the connected masters, in no particular order.
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
