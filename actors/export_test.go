package actors

import (
	"io/fs"
	"sync"
	"sync/atomic"
)

// HangDisk has what is noted from now on wait, as on a disk that hangs, until release is called: the first only, or all.
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

// BreakDisk has a panic come of what is noted, until mend is called.
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
