package watchdog

import (
	"time"
)

// MaxSnooze is the maximum of one snooze.
const MaxSnooze = 15 * time.Minute

// Forever is a hold that never ends.
const Forever = time.Duration(1<<63 - 1)

const graceGap = 2 * time.Second

type phase string

const (
	starting phase = "starting" // no complete evidence yet, watchdog not armed by this life
	watching phase = "watching" // petting on evidence
	stopping phase = "stopping" // a clean stop, petting for a bounded time
	starving phase = "starving" // never petting again
)

// limits are the constants of a decision, all positive; hold may be 0 or Forever.
type limits struct {
	init  time.Duration // from the start: without complete evidence until then the boot has failed
	hold  time.Duration // from the start: no starving before then (boot-loop breaker)
	quiet time.Duration // duration of uninterrupted evidence that makes the boot healthy
	stop  time.Duration // maximum duration of a clean stop
}

// state is everything a decision depends on. Times are monotonic and count from the keeper's start.
type state struct {
	limits
	phase     phase
	timeout   time.Duration // the watchdog's countdown, or the nominal one
	bites     bool          // a countdown runs outside this process
	armed     bool          // Arm has succeeded completely
	lastPet   time.Duration
	lastGrace time.Duration
	provenFor struct {
		on    bool
		since time.Duration
	}
	healthy bool      // quiet has been reached once
	misses  int       // failed probes since the last evidence
	missing []Missing // missing parts at the last one
	noted   bool      // the withholding is in the record
	snooze  time.Duration
	stopBy  time.Duration
	doom    *Cause        // a demand to starve
	since   time.Duration // start of starving
	exited  bool
}

// The events.
type (
	proof   struct{ Evidence }          // a probe answered in time
	silence struct{ missing []Missing } // a probe failed or is late
	demand  struct{ Cause }             // Starve was called
	nap     struct{ d time.Duration }   // Snooze was called
	leave   struct{}                    // Stopping was called
	tick    struct{}                    // time has passed
	leashed struct {                    // an arm action was carried out
		timeout time.Duration
		ok      bool
	}
)

// verb is what the keeper has to do, in the order given.
type verb string

const (
	doArm      verb = "arm"
	doPet      verb = "pet"
	doGrace    verb = "grace"    // tell the watchdog that the start takes d longer
	doSay      verb = "say"      // show a status without petting
	doAnnounce verb = "announce" // a clean stop begins
	doComplete verb = "complete" // book: first complete evidence
	doHealthy  verb = "healthy"  // book: quiet period reached
	doWithhold verb = "withhold" // book: the watchdog may act soon, cause
	doRetract  verb = "retract"  // book: it did not
	doRecord   verb = "record"   // book: starved for good, cause
	doExit     verb = "exit"     // nothing outside will end this process
)

type action struct {
	verb  verb
	text  string
	d     time.Duration
	cause Cause
}

func begin(l limits, timeout time.Duration) state {
	return state{limits: l, phase: starting, timeout: timeout, lastGrace: -graceGap}
}

// status describes what is wrong; "" if all is well.
func (s state) status(now time.Duration) string {
	who := describe(s.missing)
	switch {
	case s.phase == starving:
		return "starving: " + s.doom.String()
	case s.phase == stopping:
		return "stopping"
	case now < s.snooze:
		return "watchdog suspended: " + or(who, "on request")
	case s.doom != nil && now < s.hold:
		return "watchdog holds back to avoid a boot loop: " + s.doom.String()
	case s.phase == starting:
		return "starting: " + or(who, "no evidence yet")
	case who != "" && now < s.hold:
		return "watchdog holds back to avoid a boot loop: " + who
	case who != "":
		return "not petting: " + who
	}
	return ""
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
