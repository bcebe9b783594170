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
	// frameTapSize is the number of frames queued for a listener that is slower than the masters.
	frameTapSize = 1024
	// maxFrameTaps is the number of FrameTaps a Server may have.
	maxFrameTaps = 16
)

// Filter selects frames of masters.
type Filter struct {
	modbus.Filter
	Master string // role or address of the master, with or without the port; empty: all
}

// TappedFrame is a frame received from a master or sent to it, or an event.
type TappedFrame struct {
	modbus.Frame
	From    *Master // for comparison with others, and for its Label
	Framing modbus.Framing
	Note    string // describes an event
	Over    bool   // nothing more will be heard of this master
}

// FrameTap receives the frames exchanged with masters, from Tap to Close. Next must be called by
// one goroutine only.
type FrameTap struct {
	server *Server
	filter Filter
	frames chan TappedFrame
	missed atomic.Uint64
}

// Tap returns a FrameTap that receives the frames selected by filter from now on. Without any
// FrameTap, requests have no overhead for this. It fails if too many FrameTaps are open.
func (s *Server) Tap(filter Filter) (*FrameTap, error) {
	e := &FrameTap{server: s, filter: filter, frames: make(chan TappedFrame, frameTapSize)}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*FrameTap
	if p := s.taps.Load(); p != nil {
		all = slices.Clone(*p)
	}
	if len(all) >= maxFrameTaps {
		return nil, fmt.Errorf("too many listeners: %d already", len(all))
	}
	all = append(all, e)
	s.taps.Store(&all)
	return e, nil
}

// Close stops listening. It may be called more than once and by any goroutine.
func (e *FrameTap) Close() error {
	s := e.server
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.taps.Load()
	if p == nil {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(*p), func(o *FrameTap) bool { return o == e })
	if len(all) == 0 {
		s.taps.Store(nil)
		return nil
	}
	s.taps.Store(&all)
	return nil
}

// Next waits for the next frame. Its error is that of ctx.
func (e *FrameTap) Next(ctx context.Context) (TappedFrame, error) {
	select {
	case h := <-e.frames:
		return h, nil
	case <-ctx.Done():
		return TappedFrame{}, ctx.Err()
	}
}

// Missed returns the number of frames lost so far because Next was called too slowly.
func (e *FrameTap) Missed() uint64 { return e.missed.Load() }

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
	if m.server.taps.Load() == nil {
		return
	}
	m.tell(TappedFrame{Frame: modbus.Frame{Direction: d, Mark: mark, Unit: unit, Function: function &^ 0x80, Bytes: frame, Size: len(frame)}})
}

// happened passes an event to the listeners.
func (m *Master) happened(mark modbus.Mark, note string) {
	if m.server.taps.Load() != nil {
		m.tell(TappedFrame{Frame: modbus.Frame{Mark: mark}, Note: note})
	}
}

// ended tells the listeners that the master has disconnected, or why it was disconnected.
func (m *Master) ended(why error) {
	if m.server.taps.Load() == nil {
		return
	}
	h := TappedFrame{Note: "gone", Over: true}
	if why != nil && !errors.Is(why, io.EOF) && !errors.Is(why, net.ErrClosed) && !errors.Is(why, os.ErrClosed) {
		h.Mark, h.Note = modbus.Lost, "cut: "+why.Error()
	}
	m.tell(h)
}

func (m *Master) tell(h TappedFrame) {
	all := m.server.taps.Load()
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
		case e.frames <- one:
		default:
			e.missed.Add(1)
		}
	}
}

func (f Filter) passes(h TappedFrame) bool {
	m := h.From
	return (f.Master == "" || f.Master == m.role || f.Master == m.address || f.Master == m.Name() || f.Master == m.door.Name) &&
		f.Filter.Passes(h.Framing, h.Frame)
}
