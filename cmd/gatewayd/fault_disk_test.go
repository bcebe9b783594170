package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/freeport"
	configv1 "gatewayd/schemas/config/v1"
)

// disk mounts a small file system of its own as the site's data directory.
func (s *site) disk(size string) {
	s.t.Helper()
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Mount("gatewayd-fault", s.data, "tmpfs", 0, "mode=700,size="+size); err != nil {
		s.t.Fatalf("mount a small disk (needs root): %v", err)
	}
	s.t.Cleanup(func() { _ = unix.Unmount(s.data, unix.MNT_DETACH) })
}

// fill uses up all space; free releases it.
func (s *site) fill() (free func()) {
	s.t.Helper()
	file := filepath.Join(s.data, "ballast")
	f, err := os.Create(file)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range []int{64 << 10, 1 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, n))
		}
		if !errors.Is(err, unix.ENOSPC) {
			s.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return func() { _ = os.Remove(file) }
}

// The disk fills up while the daemon runs, stays full for longer than the patience of the ladder,
// and gets space again: no poll is missed, the bus is cycled, and the history works again.
func TestFaultFullDisk(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1, 2)
	_, serial := s.wire("rs485", 200*time.Millisecond, 11)
	units = append(units, serial...)
	s.extra = faultLab
	s.disk("6m")
	s.head = strings.Replace(s.head, `"127.0.0.1:0"`, strconv.Quote(freeport.Address(t)), 1) // the same after a cycle
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(units...)
	kept := r.happen()
	begin := time.Now()
	long := 10 * time.Second
	if testing.Short() {
		long = 3 * time.Second
	}
	for round := range 2 {
		since := time.Now()
		free := s.fill()
		r.until("the bus is not well", func() bool {
			_ = r.call("config", "Apply", &configv1.ApplyRequest{Toml: "wrong"}, &configv1.ApplyResponse{}) // an event for which there is no space
			return r.state1("bus") != "ok"
		})
		r.span(long)
		free()
		back := time.Now()
		w.healed("bus", since, "cycle")
		r.until("the bus is well", func() bool { return r.state1("bus") == "ok" })
		t.Logf("round %d: well again %s after there was space", round, time.Since(back).Round(time.Millisecond))
	}
	r.alive()
	w.unpolled(begin, m, units...)
	r.happen()
	r.accounted("after a full disk", kept)
	r.watchHistory("the bus has recovered", func(subject, data string) bool {
		return strings.HasSuffix(subject, ".healed") && strings.Contains(data, `"bus"`) && strings.Contains(data, `"recovered"`)
	})
	r.stop(faultWait)
}
