package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
)

const (
	// earSize is the number of frames queued for a listener that is slower than the masters.
	earSize = 1024
	// mostEars is the number of Ears a Server may have.
	mostEars = 16
)

// Filter selects frames of masters.
type Filter struct {
	modbus.Filter
	Master string // role or address of the master, with or without the port; empty: all
}

// Heard is a frame received from a master or sent to it, or an event.
type Heard struct {
	modbus.Frame
	From    *Master // for comparison with others, and for its Label
	Framing modbus.Framing
	Note    string // describes an event
	Over    bool   // nothing more will be heard of this master
}

// Ear receives the frames exchanged with masters, from Overhear to Close. Next must be called by
// one goroutine only.
type Ear struct {
	server *Server
	filter Filter
	heard  chan Heard
	missed atomic.Uint64
}

// Overhear returns an Ear that receives the frames selected by filter from now on. Without any Ear,
// requests have no overhead for this. It fails if too many Ears are open.
func (s *Server) Overhear(filter Filter) (*Ear, error) {
	e := &Ear{server: s, filter: filter, heard: make(chan Heard, earSize)}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Ear
	if p := s.ears.Load(); p != nil {
		all = slices.Clone(*p)
	}
	if len(all) >= mostEars {
		return nil, fmt.Errorf("too many listeners: %d already", len(all))
	}
	all = append(all, e)
	s.ears.Store(&all)
	return e, nil
}

// Close stops listening. It may be called more than once and by any goroutine.
func (e *Ear) Close() error {
	s := e.server
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ears.Load()
	if p == nil {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(*p), func(o *Ear) bool { return o == e })
	if len(all) == 0 {
		s.ears.Store(nil)
		return nil
	}
	s.ears.Store(&all)
	return nil
}

// Next waits for the next frame. Its error is that of ctx.
func (e *Ear) Next(ctx context.Context) (Heard, error) {
	select {
	case h := <-e.heard:
		return h, nil
	case <-ctx.Done():
		return Heard{}, ctx.Err()
	}
}

// Missed returns the number of frames lost so far because Next was called too slowly.
func (e *Ear) Missed() uint64 { return e.missed.Load() }

// Label identifies a master for display: its role, if proven, and its address, or the line it is
// on.
func (m *Master) Label() string {
	switch {
	case m.address == "":
		return m.door.Name
	case m.role != "":
		return m.role + " " + m.address
	}
	return m.address
}

// saw passes a frame to the listeners.
func (m *Master) saw(d modbus.Direction, mark modbus.Mark, unit, function uint8, frame []byte) {
	if m.server.ears.Load() == nil {
		return
	}
	m.tell(Heard{Frame: modbus.Frame{Direction: d, Mark: mark, Unit: unit, Function: function &^ 0x80, Bytes: frame, Size: len(frame)}})
}

// happened passes an event to the listeners.
func (m *Master) happened(mark modbus.Mark, note string) {
	if m.server.ears.Load() != nil {
		m.tell(Heard{Frame: modbus.Frame{Mark: mark}, Note: note})
	}
}

// ended tells the listeners that the master has disconnected, or why it was disconnected.
func (m *Master) ended(why error) {
	if m.server.ears.Load() == nil {
		return
	}
	h := Heard{Note: "gone", Over: true}
	if why != nil && !errors.Is(why, io.EOF) && !errors.Is(why, net.ErrClosed) && !errors.Is(why, os.ErrClosed) {
		h.Mark, h.Note = modbus.Lost, "cut: "+why.Error()
	}
	m.tell(h)
}

func (m *Master) tell(h Heard) {
	all := m.server.ears.Load()
	if all == nil {
		return
	}
	h.At, h.From, h.Framing = time.Now(), m, m.door.Framing
	for _, e := range *all {
		if !e.filter.passes(h) {
			continue
		}
		one := h
		one.Bytes = slices.Clone(h.Bytes)
		select {
		case e.heard <- one:
		default:
			e.missed.Add(1)
		}
	}
}

func (f Filter) passes(h Heard) bool {
	m := h.From
	return (f.Master == "" || f.Master == m.role || f.Master == m.address || f.Master == m.Name() || f.Master == m.door.Name) &&
		f.Filter.Passes(h.Framing, h.Frame)
}
