// Package power decides when hardware may be switched off and on again. A modem that is restarted
// too often is harmed: it needs time to detach and save its state, a minimum time off, and time to
// settle. Step is a pure function of a state, an event and the time; the supervisor carries out its
// actions.
package power

import "time"

// Times are the hold times of one piece of hardware. Zero means no wait, and for Off and On no
// limit.
type Times struct {
	Off     time.Duration // switching off may take this long; then the hardware counts as off
	MinOff  time.Duration // minimum time off
	HoldOn  time.Duration // minimum time on before the next cycle
	On      time.Duration // switching on may take this long; then it has failed
	Silence time.Duration // start a cycle if there is no proof of work for this long; 0: never
}

// Phase is the position within a cycle.
type Phase string

// The phases of a cycle, in order.
const (
	On           Phase = "on"
	SwitchingOff Phase = "switching-off"
	Off          Phase = "off"
	SwitchingOn  Phase = "switching-on"
)

// State is the state of the hardware; the zero value is not valid, use New.
type State struct {
	Phase  Phase
	Since  time.Duration // when the phase began
	Pet    time.Duration // last proof of work
	Wanted bool          // a cycle is requested and waits for HoldOn
}

// New returns the state of hardware that has just been switched on.
func New(now time.Duration) State { return State{Phase: On, Since: now, Pet: now} }

// Event is something that happened to the hardware.
type Event string

// Events that Step understands.
const (
	Requested   Event = "requested"    // somebody requests a cycle
	Petted      Event = "petted"       // the hardware has proved that it works
	Ticked      Event = "ticked"       // time has passed
	SwitchedOff Event = "switched-off" // switching off has ended, successfully or not
	SwitchedOn  Event = "switched-on"  // switching on has succeeded
	StuckOff    Event = "stuck-off"    // switching on has failed
)

// Action is something to be done now.
type Action string

// Actions that Step returns.
const (
	DoOff  Action = "do-off"  // stop all dependents, then switch off within Times.Off
	DoOn   Action = "do-on"   // switch on within Times.On
	Done   Action = "done"    // the cycle is complete: start all dependents
	Failed Action = "failed"  // the cycle failed: the supervisor must judge
	Silent Action = "silence" // a cycle begins because of missing proof of work
)

// Step applies an event. wait, if not zero, is the time until Ticked is due.
func (t Times) Step(s State, e Event, now time.Duration) (next State, do []Action, wait time.Duration) {
	switch {
	case e == Petted:
		s.Pet = now
	case e == Requested && s.Phase == On:
		s.Wanted = true
	case e == SwitchedOff && s.Phase == SwitchingOff:
		s.Phase, s.Since = Off, now
	case e == SwitchedOn && s.Phase == SwitchingOn:
		s.Phase, s.Since, s.Pet, s.Wanted = On, now, now, false
		do = append(do, Done)
	case e == StuckOff && s.Phase == SwitchingOn:
		s.Phase, s.Since = Off, now
		return s, append(do, Failed), 0
	}
	return t.due(s, do, now)
}

// due makes the transitions that depend on time alone.
func (t Times) due(s State, do []Action, now time.Duration) (State, []Action, time.Duration) {
	on := now - s.Since
	if s.Phase == On && t.Silence > 0 && !s.Wanted && now-s.Pet >= t.Silence && on >= t.HoldOn {
		s.Wanted = true
		do = append(do, Silent)
	}
	switch {
	case s.Phase == On && s.Wanted && on >= t.HoldOn:
		s.Phase, s.Since, s.Wanted = SwitchingOff, now, false
		return s, append(do, DoOff), t.Off
	case s.Phase == On && s.Wanted:
		return s, do, t.HoldOn - on
	case s.Phase == On && t.Silence > 0:
		return s, do, max(t.Silence-(now-s.Pet), t.HoldOn-on)
	case s.Phase == SwitchingOff && t.Off > 0 && on >= t.Off:
		s.Phase, s.Since = Off, now
		return t.due(s, do, now)
	case s.Phase == SwitchingOff:
		return s, do, max(0, t.Off-on)
	case s.Phase == Off && on >= t.MinOff:
		s.Phase, s.Since = SwitchingOn, now
		return s, append(do, DoOn), t.On
	case s.Phase == Off:
		return s, do, t.MinOff - on
	case s.Phase == SwitchingOn && t.On > 0 && on >= t.On:
		s.Phase, s.Since = Off, now
		return s, append(do, Failed), 0
	default:
		return s, do, max(0, t.On-on)
	}
}
