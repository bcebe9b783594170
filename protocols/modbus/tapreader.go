package modbus

import (
	"context"
	"fmt"
	"slices"
)

// tapReaderSize is the number of frames queued for a listener that is slower than the line.
const tapReaderSize = 1024

// Filter selects frames.
type Filter struct {
	Unit     int   // negative: all units; broadcasts and link events pass for every unit
	Function uint8 // 0: all functions
}

// Passes reports whether the filter selects a frame.
func (x Filter) Passes(framing Framing, f Frame) bool {
	all := f.Unit == 0 && (f.Function == 0 || framing.serial())
	return (x.Unit < 0 || all || int(f.Unit) == x.Unit) && (x.Function == 0 || f.Function == 0 || f.Function == x.Function)
}

// TapReader receives the frames that pass a Tap, from Listen to Close. Next must be called by one
// goroutine only.
type TapReader struct {
	tap    *Tap
	filter Filter
	frames chan Frame
	missed uint64 // guarded by the tap's lock
}

// maxTapReaders is the number of TapReaders a Tap may have.
const maxTapReaders = 16

// Listen returns a TapReader that receives the frames selected by filter from now on. If kept is
// true, it first receives the matching frames that the tap has kept. It fails if too many
// TapReaders are open.
func (t *Tap) Listen(filter Filter, kept bool) (*TapReader, error) {
	e := &TapReader{tap: t, filter: filter, frames: make(chan Frame, tapReaderSize)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.readers) >= maxTapReaders {
		return nil, fmt.Errorf("too many listeners: %d already", len(t.readers))
	}
	if kept {
		for _, f := range t.ring.frames() {
			e.hear(f)
		}
	}
	t.readers = append(t.readers, e)
	return e, nil
}

// Close stops listening. It may be called more than once and by any goroutine.
func (e *TapReader) Close() error {
	e.tap.mu.Lock()
	defer e.tap.mu.Unlock()
	e.tap.readers = slices.DeleteFunc(e.tap.readers, func(o *TapReader) bool { return o == e })
	return nil
}

// hear is called with the tap's lock held. It never blocks: a line does not wait for a listener.
func (e *TapReader) hear(f Frame) {
	if !e.filter.Passes(e.tap.framing, f) {
		return
	}
	if len(e.frames) == cap(e.frames) {
		e.missed++
		return
	}
	f.Bytes = slices.Clone(f.Bytes)
	e.frames <- f
}

// Next waits for the next frame. Its error is that of ctx.
func (e *TapReader) Next(ctx context.Context) (Frame, error) {
	select {
	case f := <-e.frames:
		return f, nil
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	}
}

// Missed returns the number of frames lost so far because Next was called too slowly.
func (e *TapReader) Missed() uint64 {
	e.tap.mu.Lock()
	defer e.tap.mu.Unlock()
	return e.missed
}
