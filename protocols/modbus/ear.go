package modbus

import (
	"context"
	"fmt"
	"slices"
)

// earSize is how many frames wait for a listener that is slower than the line.
const earSize = 1024

// Filter says which frames are of interest.
type Filter struct {
	Unit     int   // negative: all; broadcasts and what happens to the link are of interest to every unit
	Function uint8 // 0: all
}

// Passes says whether a frame is of interest.
func (x Filter) Passes(framing Framing, f Frame) bool {
	all := f.Unit == 0 && (f.Function == 0 || framing.serial())
	return (x.Unit < 0 || all || int(f.Unit) == x.Unit) && (x.Function == 0 || f.Function == 0 || f.Function == x.Function)
}

// Ear hears what passes a Tap, from Listen to Close. Next is for one goroutine.
type Ear struct {
	tap    *Tap
	filter Filter
	frames chan Frame
	missed uint64 // behind the tap's lock
}

// mostEars is how many may listen to a Tap.
const mostEars = 16

// Listen hears what is of interest from now on, and before that what was kept of it, if that is wanted.
func (t *Tap) Listen(filter Filter, kept bool) (*Ear, error) {
	e := &Ear{tap: t, filter: filter, frames: make(chan Frame, earSize)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ears) >= mostEars {
		return nil, fmt.Errorf("%d listen already", len(t.ears))
	}
	if kept {
		for _, f := range t.ring.frames() {
			e.hear(f)
		}
	}
	t.ears = append(t.ears, e)
	return e, nil
}

// Close ends listening; it may be called again, and by any goroutine.
func (e *Ear) Close() error {
	e.tap.mu.Lock()
	defer e.tap.mu.Unlock()
	e.tap.ears = slices.DeleteFunc(e.tap.ears, func(o *Ear) bool { return o == e })
	return nil
}

// hear is called with the tap's lock. A line never waits for who listens.
func (e *Ear) hear(f Frame) {
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
func (e *Ear) Next(ctx context.Context) (Frame, error) {
	select {
	case f := <-e.frames:
		return f, nil
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	}
}

// Missed is how many frames were too many for Next so far.
func (e *Ear) Missed() uint64 {
	e.tap.mu.Lock()
	defer e.tap.mu.Unlock()
	return e.missed
}
