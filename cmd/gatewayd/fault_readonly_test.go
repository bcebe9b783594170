package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/cmd/gatewayd/files"
	"gatewayd/protocols/freeport"
)

// The daemon starts on a disk that is read-only or completely full: it polls nevertheless, and once
// the disk works again, so does the bus.
func TestFaultStartsOnAReadOnlyOrFullDisk(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1, 2)
	s.extra = faultLab
	s.head = strings.Replace(s.head, `"127.0.0.1:0"`, strconv.Quote(freeport.Address(t)), 1) // since bus.url cannot be written
	s.disk("6m")
	first := s.start()
	url, err := os.ReadFile(s.data + "/" + files.URLFile)
	if err != nil {
		t.Fatal(err)
	}
	first.happen()
	first.stop(faultWait)
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", s.data, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	for what, bad := range map[string]func() (repair func()){
		"read-only": func() func() { remount(unix.MS_RDONLY); return func() { remount(0) } },
		"full":      s.fill,
	} {
		if err := os.WriteFile(s.data+"/"+files.URLFile, url, 0o600); err != nil {
			t.Fatal(err)
		}
		repair := bad()
		begin, m := time.Now(), startMetronome(t)
		r := s.exec()
		_ = os.WriteFile(s.data+"/"+files.URLFile, url, 0o600)
		r.until(what+": it polls", func() bool { return len(units[0].since(begin)) > 3 && len(units[1].since(begin)) > 3 })
		if d := time.Since(begin); d > startLimit {
			t.Errorf("%s: polls only after %s", what, d)
		}
		r.dial()
		w := r.watch()
		w.good(units...)
		begin = time.Now()
		r.span(2 * time.Second)
		repair()
		back := time.Now()
		r.until(what+": the bus is well", func() bool { return r.state1("bus") == "ok" })
		t.Logf("%s: the bus is well %s after the disk", what, time.Since(back).Round(time.Millisecond))
		r.happen()
		w.unpolled(begin, m, units...)
		w.honest()
		r.stop(faultWait)
	}
}
