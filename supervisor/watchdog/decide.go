package watchdog

import (
	"fmt"
	"time"
)

// decide is the whole policy: whether to pet, arm or starve. It reads no clock; now is the
// monotonic time since the start and never goes back.
func decide(s state, event any, now time.Duration) (state, []action) {
	if s.phase == starving {
		return overdue(s, now)
	}
	switch e := event.(type) {
	case leashed:
		s.armed = e.ok
		if e.timeout > 0 {
			s.timeout, s.bites = e.timeout, true
		}
		return s, nil
	case nap:
		s.snooze = now + min(max(e.d, 0), MaxSnooze)
		return s, []action{{verb: doSay, text: s.status(now)}}
	case leave:
		if s.phase == stopping {
			return s, nil
		}
		s.phase, s.stopBy = stopping, now+s.stop
		return s, []action{{verb: doAnnounce}}
	case demand:
		if s.doom == nil {
			s.doom = &e.Cause
		}
		s.provenFor.since = now // only evidence after the demand can cancel it
		return impatient(s, now)
	case proof:
		missing := e.lacking(s.timeout)
		if missing == nil {
			return proven(s, e.Alive, now)
		}
		return unproven(s, missing, now)
	case silence:
		return unproven(s, e.missing, now)
	}
	return impatient(s, now)
}

// proven handles complete and fresh evidence.
func proven(s state, alive int, now time.Duration) (state, []action) {
	var do []action
	if !s.provenFor.on {
		s.provenFor.on, s.provenFor.since = true, now
	}
	s.misses, s.missing = 0, nil
	if s.noted {
		s.noted = false
		do = append(do, action{verb: doRetract})
	}
	if now-s.provenFor.since >= s.quiet {
		s.doom = nil // held back, and healed in the meantime
		if !s.healthy {
			s.healthy = true
			do = append(do, action{verb: doHealthy})
		}
	}
	if s.phase == starting { // before judging: evidence in the last moment counts
		s.phase = watching
		do = append(do, action{verb: doComplete})
	}
	if s.must(now) {
		return starve(s, do, now)
	}
	if !s.armed && s.phase == watching {
		do = append(do, action{verb: doArm})
	}
	text := s.status(now)
	if text == "" {
		text = fmt.Sprintf("ok: %d critical parts alive", alive)
	}
	s.lastPet = now
	return s, append(do, action{verb: doPet, text: text})
}

// unproven handles evidence that is missing, late, stale or failed.
func unproven(s state, missing []Missing, now time.Duration) (state, []action) {
	s.misses++
	s.missing = missing
	s.provenFor.on = false
	if s.must(now) {
		return starve(s, nil, now)
	}
	say := action{verb: doSay, text: s.status(now)}
	switch {
	case s.phase == starting:
		return plead(s, []action{say}, now)
	case s.excused(now):
		s.lastPet = now
		do := []action{{verb: doPet, text: say.text}}
		if s.noted {
			s.noted = false
			do = append(do, action{verb: doRetract})
		}
		return s, do
	}
	do := []action{say}
	if !s.noted && now-s.lastPet >= s.timeout/2 {
		s.noted = true
		do = append(do, action{verb: doWithhold, cause: blame(missing)})
	}
	return s, do
}

// impatient handles the passing of time, and demands.
func impatient(s state, now time.Duration) (state, []action) {
	if s.must(now) {
		return starve(s, nil, now)
	}
	if s.phase == starting {
		return plead(s, nil, now)
	}
	return s, nil
}

// plead asks for more time to start, at most every graceGap: often enough for a short hardware
// countdown that a killed life left running.
func plead(s state, do []action, now time.Duration) (state, []action) {
	if now-s.lastGrace < graceGap {
		return s, do
	}
	s.lastGrace = now
	return s, append(do, action{verb: doGrace, d: s.timeout})
}

// excused reports whether the watchdog is petted without evidence.
func (s state) excused(now time.Duration) bool {
	if s.phase == stopping {
		return now < s.stopBy || now < s.snooze
	}
	return now < s.hold || now < s.snooze
}

// must reports whether it is time to starve for good. It requires two failed probes, so that a
// process that was itself suspended can answer once.
func (s state) must(now time.Duration) bool {
	if s.excused(now) {
		return false
	}
	switch s.phase {
	case starting:
		return s.doom != nil || now >= s.init
	case stopping:
		return true
	}
	return s.doom != nil || s.misses >= 2 && now-s.lastPet >= s.timeout
}

// cause returns why must is true.
func (s state) cause() Cause {
	switch {
	case s.doom != nil:
		return *s.doom
	case s.phase == stopping:
		return Cause{keeperPath, fmt.Sprintf("the stop took more than %s", s.stop), levelWatchdog}
	case s.phase == starting:
		c := blame(s.missing)
		c.Reason = fmt.Sprintf("no complete evidence within %s of the start: %s", s.init, c.Reason)
		return c
	}
	return blame(s.missing)
}

// starve ends all petting. The record is written first, because the time left until the watchdog
// acts is unknown.
func starve(s state, do []action, now time.Duration) (state, []action) {
	c := s.cause()
	s.phase, s.since, s.doom = starving, now, &c
	do = append(do, action{verb: doRecord, cause: c}, action{verb: doSay, text: "starving: " + c.String()})
	if !s.bites {
		s.exited = true
		do = append(do, action{verb: doExit, cause: c})
	}
	return s, do
}

// overdue exits the process if the watchdog has not acted within twice its countdown.
func overdue(s state, now time.Duration) (state, []action) {
	if s.exited || now-s.since < 2*s.timeout {
		return s, nil
	}
	s.exited = true
	return s, []action{{verb: doExit, cause: *s.doom}}
}
