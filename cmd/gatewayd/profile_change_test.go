package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// A unit that is given another profile has only the points of that profile, whether it is changed
// by an operator or in the file. Its neighbours are polled in every slot.
func TestAnotherProfileBringsItsPoints(t *testing.T) {
	s := newSite(t)
	neighbours := s.host("plc", 100*time.Millisecond, 1, 2)
	dir := filepath.Join(filepath.Dir(s.config), "profiles")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	profile := func(name, points string) {
		text := "vendor = \"V\"\nmodel = \"M\"\nsource = \"S\"\nmax-registers = 10\npoints = [\n" + points + "]\n"
		if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	profile("one", "{ name = \"short\", area = \"input\", address = 0 },\n{ name = \"one\", address = 0 },\n")
	profile("two", "{ name = \"short\", area = \"input\", address = 100 },\n{ name = \"two\", area = \"input\", address = 101 },\n")
	table := func(more string) string {
		return fmt.Sprintf("\n[field.plc.changing]\nkind = \"modbus-unit\"\nlink = \"field/plc/link\"\nunit = 2\nevery = \"100ms\"\n%s\n", more)
	}
	s.extra = table(`profile = "one"`)
	r := s.start()
	var last atomic.Pointer[samplev1.Samples]
	stop, err := r.conn.Subscribe("gw.fault.data.field.plc.changing.points", func(m bus.Msg) {
		got := &samplev1.Samples{}
		if m.Decode(got) == nil {
			last.Store(got)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	has := func(what, want string) {
		t.Helper()
		r.until(what, func() bool {
			var got []string
			for _, one := range last.Load().GetSamples() {
				got = append(got, fmt.Sprintf("%s %v%s", one.Point, one.GetNumber(), one.Cause))
			}
			return strings.Join(got, ", ") == want
		})
	}
	update := func(toml string) error {
		return r.call("field/plc/changing", "UpdateConfig", &actorv1.UpdateConfigRequest{Toml: toml}, &actorv1.UpdateConfigResponse{})
	}
	reload := func(more string) {
		t.Helper()
		s.extra = table(more)
		s.write()
		resp := &configv1.ReloadResponse{}
		r.must("config", "Reload", &configv1.ReloadRequest{}, resp)
		if len(resp.Problems) > 0 {
			t.Fatal(resp.Problems)
		}
	}
	has("the first profile's points", "short 602, one 0")
	w, m := r.watch(), startMetronome(t)
	w.good(neighbours...)
	begin := time.Now()
	const second = "short 704, two 65518" // of 0x02c0ffee
	if err := update(`profile = "two"`); err != nil {
		t.Fatal(err)
	}
	has("another profile's points by a call", second)
	if err := update(`points = [{ name = "two", area = "input", address = 0 }]`); err != nil {
		t.Fatal(err)
	}
	has("a point of its own goes before the profile's", "two 602, short 704")
	if err := update(`profile = "three"`); err == nil || !strings.Contains(err.Error(), "there is no profiles/three.toml") {
		t.Error(err)
	}
	profile("bad", "{ name = \"short\", adress = 1 },\n")
	if err := update(`profile = "bad"`); err == nil || !strings.Contains(err.Error(), `bad.toml:6: points[0].adress: unknown key, did you mean "address"?`) {
		t.Error(err)
	}
	has("what was refused changes nothing", "two 602, short 704")
	if err := update(`points = []`); err != nil {
		t.Fatal(err)
	}
	has("the profile's points are back", second)
	reload("profile = \"one\"\ntimeout = \"900ms\"")
	has("what the file says again", "short 602, one 0")
	reload(`profile = "two"`)
	has("another profile's points by a reload", second)
	profile("two", "{ name = \"new\", area = \"input\", address = 101 },\n")
	reload(`profile = "two"`)
	has("the points of a file that has changed", "new 65518")
	w.undisturbed(begin, m, neighbours...)
	r.stop(faultWait)
}
