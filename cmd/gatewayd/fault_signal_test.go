package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/files"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// boot returns the boot record that this life has published.
func (r *running) boot() *gatewayv1.Boot {
	r.t.Helper()
	b := &gatewayv1.Boot{}
	r.until("the boot record is told", func() bool {
		found := false
		ctx, cancel := faultContext()
		defer cancel()
		err := r.conn.Last(ctx, bus.Subject("fault", bus.State, "root", "boot"), func(rec bus.Record) error {
			found = true
			return bus.Unmarshal(rec.ContentType, rec.Data, b)
		})
		return err == nil && found
	})
	return b
}

// SIGTERM stops the daemon in order, whatever it is doing. A second SIGTERM ends it at once, and
// all stored data is intact nevertheless.
func TestFaultTerminate(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 20*time.Millisecond, 1, 2, 3, 4, 5, 6, 7, 8)
	s.extra = faultLab
	for _, how := range []string{"", "flood", "hang", "hang-in-stopped", "hang-in-worker", "twice"} {
		r := s.start()
		w := r.watch()
		w.good(units...)
		want := "clean"
		switch how {
		case "":
		case "twice":
			r.misbehave("lab/rogue", "hang", 30*time.Second)
			r.signal(syscall.SIGTERM)
			r.until("it is about to stop", func() bool { return r.log.has("msg=stopping") })
			r.signal(syscall.SIGTERM)
			<-r.ended
			want = "clean" // within a second it counts as one signal that arrived twice
		default:
			r.misbehave("lab/rogue", how, 30*time.Second)
		}
		if how != "twice" {
			t.Logf("%q: stopped in %s", how, r.stop(20*time.Second).Round(time.Millisecond))
		}
		w.honest()
		next := s.start()
		if b := next.boot(); b.LastEnd != want || b.SafeMode {
			t.Errorf("%q: the next life says that the last ended %q", how, b.LastEnd)
		}
		next.intact(1)
		next.stop(faultWait)
	}
}

// intact fails the test unless the newest config version is n and all versions can be read.
func (r *running) intact(n uint64) {
	r.t.Helper()
	h := &configv1.HistoryResponse{}
	r.must("config", "History", &configv1.HistoryRequest{}, h)
	if len(h.Versions) == 0 || h.Versions[0].Version != n {
		r.t.Errorf("%d versions of the config, the newest is not %d", len(h.Versions), n)
		return
	}
	got := &configv1.GetResponse{}
	r.must("config", "Get", &configv1.GetRequest{}, got)
	if file, err := os.ReadFile(r.site.config); err != nil || string(file) != got.Toml || h.Versions[0].Toml != got.Toml {
		r.t.Errorf("file, history and what is in force differ (%v)", err)
	}
	for _, v := range h.Versions {
		if _, problems := files.Kinds(kinds).Parse("history", []byte(v.Toml)); len(problems) > 0 {
			r.t.Errorf("version %d does not verify: %v", v.Version, problems)
		}
	}
}

// Reloads: a bad file changes nothing, a good file only what differs, and a file that makes actors
// fail is rolled back.
func TestFaultReload(t *testing.T) {
	s := newSite(t)
	still := s.host("still", 100*time.Millisecond, 1, 2)
	moved := s.host("moved", 100*time.Millisecond, 3)
	other := s.host("other", time.Hour, 3)
	wire, serial := s.wire("rs485", 200*time.Millisecond, 11)
	s.order = s.order[:len(s.order)-2] // without "other"; the unit on the line is added again below
	s.order = append(s.order, serial[0].path)
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(still...)
	w.good(moved[0], serial[0])
	begin := time.Now()
	reload := func(what string, leaf string) {
		t.Helper()
		since := time.Now()
		r.signal(syscall.SIGHUP)
		w.told(what, since, func(e said) bool { return e.path == "config" && e.leaf == leaf })
	}

	good := s.text()
	for _, bad := range []string{good + "\n[field.still.unit-9]\nkind = \"modbus-unit\"\nlink = \"field/nobody/link\"\nunit = 9\n", "not TOML [[[", "", "gateway = \"fault\"\nbaud = 1\n"} {
		if err := os.WriteFile(s.config, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		reload("the bad file is refused", "rejected")
	}
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	reload("a file that is gone is refused", "rejected")

	// A running link gets the address of another host: the unit with the same number there answers.
	moved[0].path, other[0].every = "field/moved/unit-3", 100*time.Millisecond
	s.head = strings.Replace(s.head, linkOf(s.head, "moved"), linkOf(s.head, "other"), 1)
	s.write()
	since := time.Now()
	reload("another address", "applied")
	r.until("polls at the new address", func() bool { return len(other[0].since(since)) > 3 })
	w.good(moved[0])

	// A running unit gets other points and another interval.
	serial[0].every = 100 * time.Millisecond
	s.write()
	reload("another rhythm", "applied")
	w.good(serial[0])

	// The baud rate: first of the devices, then of the line.
	wire.SetBaud(57600)
	s.head = strings.Replace(s.head, "baud = 115200", "baud = 57600", 1)
	s.write()
	reload("another baud rate", "applied")
	w.good(serial[0])

	// An actor that fails: the previous file and tree come back.
	want := s.text()
	r.span(1500 * time.Millisecond) // longer than the budget, so that the config in force has proved itself
	s.extra = "\n[lab.rogue]\nkind = \"erratic\"\nhow = \"panic-in-started\"\n"
	s.write()
	since = time.Now()
	reload("what fails is taken back", "rolled-back")
	if text, err := os.ReadFile(s.config); err != nil || string(text) != want {
		t.Errorf("the file has not come back (%v)", err)
	}
	r.until("the actor is gone", func() bool { return r.state1("lab/rogue") == "" || r.state1("lab/rogue") == "stopped" })
	w.told("applied, then rolled back", since, func(e said) bool { return e.leaf == "applied" })
	w.undisturbed(begin, m, still...)
	r.stop(faultWait)
}

// linkOf returns the address line of a host's link.
func linkOf(text, host string) string {
	_, text, _ = strings.Cut(text, "[field."+host+".link]")
	_, text, _ = strings.Cut(text, "address = ")
	text, _, _ = strings.Cut(text, "\n")
	return text
}
