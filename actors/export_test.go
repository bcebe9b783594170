package actors

import (
	"io/fs"
	"sync"
	"sync/atomic"
)

// HangDisk makes writes of notes wait, as on a disk that hangs, until release is called: all of
// them, or only the first.
func (s *System) HangDisk(all bool) (release func()) {
	hold, first, save := make(chan struct{}), sync.Once{}, s.save
	s.save = func(file string, v any, mode fs.FileMode) error {
		hangs := all
		first.Do(func() { hangs = true })
		if hangs {
			<-hold
		}
		return save(file, v, mode)
	}
	return func() { close(hold) }
}

// BreakDisk makes writes of notes panic until mend is called.
func (s *System) BreakDisk() (mend func()) {
	save, mended := s.save, atomic.Bool{}
	s.save = func(file string, v any, mode fs.FileMode) error {
		if !mended.Load() {
			panic("the disk is broken")
		}
		return save(file, v, mode)
	}
	return func() { mended.Store(true) }
}

// StopAsItFires stops a timer of After that has fired but has not sent its message yet.
func (t *Timer) StopAsItFires() {
	t.timer.Stop() // as if it had fired
	t.Stop()
	t.fire()
}
