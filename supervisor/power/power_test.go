package power

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const s = time.Second

func TestCycle(t *testing.T) {
	tm := Times{Off: 10 * s, MinOff: 5 * s, HoldOn: 60 * s, On: 20 * s}
	tests := map[string]struct {
		play []struct {
			e  Event
			at time.Duration
		}
		want []Action
		end  Phase
	}{
		"a whole cycle":                     {play{{Requested, 100 * s}, {SwitchedOff, 102 * s}, {Ticked, 107 * s}, {SwitchedOn, 109 * s}}, []Action{DoOff, DoOn, Done}, On},
		"waits until it was on long enough": {play{{Requested, 30 * s}, {Ticked, 59 * s}, {Ticked, 60 * s}}, []Action{DoOff}, SwitchingOff},
		"stays off long enough":             {play{{Requested, 100 * s}, {SwitchedOff, 101 * s}, {Ticked, 105 * s}}, []Action{DoOff}, Off},
		"a hanging off counts as off":       {play{{Requested, 100 * s}, {Ticked, 110 * s}, {Ticked, 115 * s}}, []Action{DoOff, DoOn}, SwitchingOn},
		"a hanging on has failed":           {play{{Requested, 100 * s}, {SwitchedOff, 101 * s}, {Ticked, 106 * s}, {Ticked, 126 * s}}, []Action{DoOff, DoOn, Failed}, Off},
		"an error in on has failed":         {play{{Requested, 100 * s}, {SwitchedOff, 101 * s}, {Ticked, 106 * s}, {StuckOff, 107 * s}}, []Action{DoOff, DoOn, Failed}, Off},
		"asked twice is once":               {play{{Requested, 100 * s}, {Requested, 101 * s}, {SwitchedOff, 102 * s}, {Requested, 103 * s}, {Ticked, 107 * s}, {SwitchedOn, 108 * s}, {Ticked, 109 * s}}, []Action{DoOff, DoOn, Done}, On},
		"a late result means nothing":       {play{{SwitchedOff, s}, {SwitchedOn, 2 * s}, {StuckOff, 3 * s}}, nil, On},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, got := New(0), []Action(nil)
			for _, p := range tt.play {
				var do []Action
				st, do, _ = tm.Step(st, p.e, p.at)
				got = append(got, do...)
			}
			if !slices.Equal(got, tt.want) || st.Phase != tt.end {
				t.Errorf("did %v and is %s, want %v and %s", got, st.Phase, tt.want, tt.end)
			}
		})
	}
}

type play = []struct {
	e  Event
	at time.Duration
}

func TestSilenceCallsForACycle(t *testing.T) {
	tm := Times{Silence: 30 * s}
	st, do, wait := tm.Step(New(0), Petted, 10*s)
	if len(do) != 0 || wait != 30*s {
		t.Fatalf("%v, wait %s", do, wait)
	}
	st, do, _ = tm.Step(st, Ticked, 39*s)
	if len(do) != 0 {
		t.Fatal(do)
	}
	if _, do, _ = tm.Step(st, Ticked, 40*s); !slices.Equal(do, []Action{Silent, DoOff}) {
		t.Fatal(do)
	}
}

// TestSilenceWaitsForHoldOn: hardware that proves work before the cycle may begin is not cycled for
// an earlier silence.
func TestSilenceWaitsForHoldOn(t *testing.T) {
	tm := Times{Silence: 30 * s, HoldOn: 60 * s}
	st, do, wait := tm.Step(New(0), Ticked, 40*s)
	if len(do) != 0 || wait != 20*s {
		t.Fatalf("%v, wait %s", do, wait)
	}
	st, do, _ = tm.Step(st, Petted, 50*s)
	if len(do) != 0 {
		t.Fatal(do)
	}
	if st, do, _ = tm.Step(st, Ticked, 60*s); len(do) != 0 {
		t.Fatal(do)
	}
	if _, do, _ = tm.Step(st, Ticked, 80*s); !slices.Equal(do, []Action{Silent, DoOff}) {
		t.Fatal(do)
	}
}

// TestHolds: whatever happens, the hold times are kept, and DoOff and DoOn alternate.
func TestHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dur := func(name string) time.Duration { return time.Duration(rapid.IntRange(0, 60).Draw(t, name)) * s }
		tm := Times{Off: dur("off"), MinOff: dur("min-off"), HoldOn: dur("hold-on"), On: dur("on"), Silence: dur("silence")}
		st, now := New(0), time.Duration(0)
		var lastOn, off time.Duration
		isOn := true
		for range rapid.IntRange(1, 100).Draw(t, "events") {
			now += time.Duration(rapid.IntRange(0, 40).Draw(t, "pause")) * s
			e := rapid.SampledFrom([]Event{Requested, Petted, Ticked, SwitchedOff, SwitchedOn, StuckOff}).Draw(t, "event")
			before := st.Phase
			var do []Action
			var wait time.Duration
			st, do, wait = tm.Step(st, e, now)
			if wait < 0 {
				t.Fatalf("wait %s", wait)
			}
			if before == SwitchingOff && st.Phase != SwitchingOff {
				off = now
			}
			for _, a := range do {
				switch a {
				case DoOff:
					if !isOn || now-lastOn < tm.HoldOn {
						t.Fatalf("switched off %s after switching on, hold-on is %s", now-lastOn, tm.HoldOn)
					}
					isOn = false
				case DoOn:
					if isOn || now-off < tm.MinOff {
						t.Fatalf("switched on %s after it was off, min-off is %s", now-off, tm.MinOff)
					}
				case Done:
					isOn, lastOn = true, now
				case Failed:
					off = now
				}
			}
		}
	})
}
