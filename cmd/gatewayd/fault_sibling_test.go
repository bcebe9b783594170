package main

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

const faultLab = `
[lab]
ladder     = ["restart 100 in 1m", "quarantine"]
backoff    = "20ms"
probe      = "300ms"
stop       = "300ms"

[lab.rogue]
kind  = "erratic"
every = "20ms"
`

// misbehave tells an erratic actor how to misbehave. One that floods itself sheds the command for a
// while, so it is repeated.
func (r *running) misbehave(path, how string, long time.Duration) {
	r.t.Helper()
	r.until(path+" takes the command "+how, func() bool {
		req := &erraticv1.MisbehaveRequest{How: how, Duration: durationpb.New(long)}
		return r.call(path, "Misbehave", req, &erraticv1.MisbehaveResponse{}) == nil
	})
}

// Whatever one actor does, the units beside it are polled in every slot.
func TestFaultSiblingsNeverMissASlot(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1, 2, 3)
	_, serial := s.wire("rs485", 200*time.Millisecond, 11)
	units = append(units, serial...)
	s.extra = faultLab
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(units...)
	r.until("the rogue is well", func() bool { return r.state1("lab/rogue") == "ok" })
	begin := time.Now()

	for _, tt := range []struct {
		how  string
		long time.Duration
		want []string // levels of healing; none: no failure at all
	}{
		{how: "error", want: []string{"restart"}},
		{how: "panic", want: []string{"restart"}},
		{how: "wedged", want: []string{"restart"}},                      // it owns nothing that could be cycled
		{how: "hang", want: []string{"restart"}},                        // for ever: its mailbox is abandoned
		{how: "hang", long: 3 * time.Second, want: []string{"restart"}}, // the abandoned goroutine comes back
		{how: "slow", long: 100 * time.Millisecond},
		{how: "hang-in-worker", want: []string{"restart"}},
		{how: "leak", want: []string{"restart"}},
		{how: "flood", long: 500 * time.Millisecond},
	} {
		since := time.Now()
		r.misbehave("lab/rogue", tt.how, tt.long)
		if len(tt.want) > 0 {
			h := w.healed("lab/rogue", since, tt.want...)
			w.healed("lab/rogue", since, "recovered")
			t.Logf("%s: healed by %s in %s: %s", tt.how, h.Level, time.Since(since).Round(time.Millisecond), h.Cause)
		}
		r.until("the rogue is well after "+tt.how, func() bool { return r.state1("lab/rogue") == "ok" })
	}
	for _, how := range []string{"panic-in-stopped", "hang-in-stopped"} {
		r.misbehave("lab/rogue", how, 0)
		life := r.health("lab/rogue").Life
		r.must("lab/rogue", "Restart", &actorv1.RestartRequest{}, &actorv1.RestartResponse{})
		r.until("a new life after "+how, func() bool { h := r.health("lab/rogue"); return h.GetLife() > life && h.GetState() == "ok" })
	}

	// Starts that fail. The actors are added by a reload and removed by the next one.
	for i, how := range []string{"panic-in-started", "error-in-started", "hang-in-started", "broken", "panic"} {
		since := time.Now()
		name := fmt.Sprintf("newcomer-%d", i)
		s.extra = faultLab + fmt.Sprintf("\n[lab.%s]\nkind = \"erratic\"\nhow = %q\nevery = \"50ms\"\n", name, how)
		s.write()
		resp := &configv1.ReloadResponse{}
		r.must("config", "Reload", &configv1.ReloadRequest{}, resp)
		if len(resp.Problems) > 0 {
			t.Fatal(resp.Problems)
		}
		w.healed("lab/"+name, since, "restart", "broken")
		w.told("rolled back", since, func(e said) bool { return e.path == "config" && e.leaf == "rolled-back" })
	}
	w.undisturbed(begin, m, units...)
	t.Logf("stopped in %s", r.stop(faultWait))
}
