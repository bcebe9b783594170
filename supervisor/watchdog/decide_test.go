package watchdog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const sec = time.Second

var someLimits = limits{init: 120 * sec, hold: 0, quiet: 600 * sec, stop: 30 * sec}

var (
	full   = proof{Evidence{Alive: 3}}
	absent = silence{[]Missing{{"field/line", "no progress"}}}
	armed  = leashed{timeout: 30 * sec, ok: true}
)

type moment struct {
	at    time.Duration
	event any
	want  []verb
}

func TestDecide(t *testing.T) {
	held := someLimits
	held.hold = 900 * sec
	safe := someLimits
	safe.hold = Forever
	tests := map[string]struct {
		limits limits
		script []moment
	}{
		"arms on the first full evidence only": {someLimits, []moment{
			{0, tick{}, []verb{doGrace}},
			{1 * sec, absent, []verb{doSay}},
			{2 * sec, absent, []verb{doSay, doGrace}},
			{3 * sec, full, []verb{doComplete, doArm, doPet}},
			{3 * sec, armed, nil},
			{13 * sec, full, []verb{doPet}},
		}},
		"arming that failed is tried again": {someLimits, []moment{
			{3 * sec, full, []verb{doComplete, doArm, doPet}},
			{3 * sec, leashed{}, nil},
			{13 * sec, full, []verb{doArm, doPet}},
			{13 * sec, leashed{timeout: 20 * sec}, nil},
			{23 * sec, full, []verb{doArm, doPet}},
			{23 * sec, armed, nil},
			{33 * sec, full, []verb{doPet}},
		}},
		"init runs out": {someLimits, []moment{
			{119 * sec, absent, []verb{doSay, doGrace}},
			{120 * sec, tick{}, []verb{doRecord, doSay, doExit}},
			{121 * sec, full, nil},
		}},
		"evidence in the last moment": {someLimits, []moment{
			{120 * sec, full, []verb{doComplete, doArm, doPet}},
		}},
		"withholds, notes, recovers": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{10 * sec, absent, []verb{doSay}},
			{20 * sec, absent, []verb{doSay, doWithhold}},
			{25 * sec, full, []verb{doRetract, doPet}},
		}},
		"withholds until the dog bites": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{10 * sec, absent, []verb{doSay}},
			{20 * sec, absent, []verb{doSay, doWithhold}},
			{30 * sec, absent, []verb{doRecord, doSay}},
			{31 * sec, full, nil},
			{89 * sec, tick{}, nil},
			{90 * sec, tick{}, []verb{doExit}},
			{99 * sec, tick{}, nil},
		}},
		"a suspended process may answer once": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{70 * sec, tick{}, nil},
			{70 * sec, absent, []verb{doSay, doWithhold}},
			{71 * sec, full, []verb{doRetract, doPet}},
		}},
		"starve at once": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{5 * sec, demand{Cause{Path: "root", Reason: "nothing left"}}, []verb{doRecord, doSay}},
			{10 * sec, full, nil},
			{10 * sec, nap{MaxSnooze}, nil},
		}},
		"starve without a dog": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, leashed{ok: true}, nil},
			{5 * sec, demand{Cause{Path: "root", Reason: "nothing left"}}, []verb{doRecord, doSay, doExit}},
		}},
		"stale evidence is none": {someLimits, []moment{
			{0, proof{Evidence{Alive: 1, Age: 31 * sec}}, []verb{doSay, doGrace}},
			{1, proof{Evidence{Alive: 1, Age: -1}}, []verb{doSay}},
			{2, proof{Evidence{}}, []verb{doSay}},
			{3, proof{Evidence{Alive: 1, Missing: []Missing{{"a", "b"}}}}, []verb{doSay}},
		}},
		"snooze": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{10 * sec, nap{time.Hour}, []verb{doSay}},
			{20 * sec, absent, []verb{doPet}},
			{900 * sec, absent, []verb{doPet}},
			{910 * sec, absent, []verb{doSay}},
			{930 * sec, absent, []verb{doRecord, doSay}},
		}},
		"held back, then starving": {held, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{10 * sec, demand{Cause{Path: "root", Reason: "nothing left"}}, nil},
			{20 * sec, absent, []verb{doPet}},
			{899 * sec, absent, []verb{doPet}},
			{900 * sec, tick{}, []verb{doRecord, doSay}},
		}},
		"held back, healed": {held, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{10 * sec, demand{Cause{Path: "root", Reason: "nothing left"}}, nil},
			{605 * sec, full, []verb{doPet}},
			{610 * sec, full, []verb{doHealthy, doPet}},
			{900 * sec, tick{}, nil},
		}},
		"safe mode never starves": {safe, []moment{
			{200 * sec, tick{}, []verb{doGrace}},
			{300 * sec, full, []verb{doComplete, doArm, doPet}},
			{300 * sec, armed, nil},
			{310 * sec, demand{Cause{Path: "root"}}, nil},
			{1 << 60, absent, []verb{doPet}},
		}},
		"a clean stop is bounded": {someLimits, []moment{
			{0, full, []verb{doComplete, doArm, doPet}},
			{0, armed, nil},
			{5 * sec, leave{}, []verb{doAnnounce}},
			{10 * sec, absent, []verb{doPet}},
			{20 * sec, leave{}, nil},
			{35 * sec, absent, []verb{doRecord, doSay}},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := begin(test.limits, 30*sec)
			for i, m := range test.script {
				var do []action
				s, do = decide(s, m.event, m.at)
				if got := verbs(do); !slices.Equal(got, m.want) {
					t.Fatalf("step %d at %s, %T: got %v, want %v", i, m.at, m.event, got, m.want)
				}
			}
		})
	}
}

func verbs(do []action) []verb {
	var out []verb
	for _, a := range do {
		out = append(out, a.verb)
	}
	return out
}

func anyEvent(t *rapid.T) any {
	switch rapid.IntRange(0, 10).Draw(t, "event") {
	case 0, 1, 2:
		return proof{Evidence{
			Alive: rapid.IntRange(-1, 3).Draw(t, "alive"),
			Age:   time.Duration(rapid.IntRange(-1, 40).Draw(t, "age")) * sec,
		}}
	case 3, 4:
		return absent
	case 5:
		return nap{time.Duration(rapid.Int64().Draw(t, "nap"))}
	case 6:
		return leashed{timeout: time.Duration(rapid.IntRange(0, 60).Draw(t, "timeout")) * sec, ok: rapid.Bool().Draw(t, "ok")}
	case 7:
		if rapid.IntRange(0, 9).Draw(t, "rare") == 0 {
			return leave{}
		}
		return demand{Cause{Path: "root", Reason: "nothing left"}}
	}
	return tick{}
}

// TestDecideProperties: whatever happens, no pet without fresh and complete evidence or an excuse
// that ends, none after starving, and no endless start.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := someLimits
		l.hold = time.Duration(rapid.SampledFrom([]int{0, 0, 50, 900}).Draw(t, "hold")) * sec
		s := begin(l, 30*sec)
		var now, napEnd, leaveEnd time.Duration
		evidenced, starved, recorded, exits := false, false, 0, 0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 200).Draw(t, "gap")) * sec / 4
			e := anyEvent(t)
			before := s
			var do []action
			s, do = decide(s, e, now)
			if n, ok := e.(nap); ok && !starved {
				napEnd = now + min(max(n.d, 0), MaxSnooze)
			}
			if _, ok := e.(leave); ok && leaveEnd == 0 {
				leaveEnd = now + l.stop
			}
			p, isProof := e.(proof)
			good := isProof && p.Alive > 0 && len(p.Missing) == 0 && p.Age >= 0 && p.Age <= before.timeout
			evidenced = evidenced || good
			excused := now < napEnd || now < l.hold || now < leaveEnd
			for i, a := range do {
				switch a.verb {
				case doPet, doArm, doGrace:
					if starved {
						t.Fatalf("%s after starving", a.verb)
					}
					if a.verb != doGrace && !good && !excused {
						t.Fatalf("%s at %s on %T without evidence or excuse", a.verb, now, e)
					}
					if a.verb == doArm && !good || a.verb == doGrace && evidenced {
						t.Fatalf("%s at %s on %#v", a.verb, now, e)
					}
				case doRecord:
					recorded++
					starved = true
					if i+1 >= len(do) || do[i+1].verb != doSay {
						t.Fatalf("the record does not come before the status: %v", verbs(do))
					}
				case doExit:
					exits++
					if !starved {
						t.Fatal("exit without starving")
					}
				}
			}
			if recorded > 1 || exits > 1 {
				t.Fatalf("recorded %d times, exited %d times", recorded, exits)
			}
			if _, ok := e.(tick); ok && !evidenced && now >= l.init && !excused && !starved {
				t.Fatalf("still %s at %s without any evidence", s.phase, now)
			}
		}
	})
}
