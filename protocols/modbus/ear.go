package modbus

import (
	"context"
	"slices"
)

// earSize is how many frames wait for a listener that is slower than the line.
const earSize = 1024

// Ear hears what passes a Tap, from Listen to Close. Next is for one goroutine.
type Ear struct {
	tap    *Tap
	frames chan Frame
	missed uint64 // behind the tap's lock
}

// Listen hears everything from now on.
func (t *Tap) Listen() *Ear {
	e := &Ear{tap: t, frames: make(chan Frame, earSize)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ears = append(t.ears, e)
	return e
}

// Listeners is how many Ears there are.
func (t *Tap) Listeners() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ears)
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
