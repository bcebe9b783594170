package watchdog

import (
	"errors"
	"fmt"
	"time"
)

// Watchdog is a watchdog: something outside this process that restarts it unless it is petted. Only
// the keeper calls it, one call at a time. No call may block for more than about a second.
type Watchdog interface {
	// Arm starts the countdown and returns its length; 0 means that nothing will restart the
	// process, however long it is not petted. Arm is idempotent: the keeper repeats it after an
	// error. A length together with an error means that the watchdog is partly armed.
	Arm() (time.Duration, error)
	// Pet restarts the countdown. The status is for people.
	Pet(status string) error
	// Stop ends the countdown for a clean stop, as far as the watchdog allows it.
	Stop() error
}

// graceful is a Watchdog that can be told that the start takes longer.
type graceful interface {
	// Grace gives a start that has not reached Arm yet another d.
	Grace(d time.Duration) error
}

// speaker is a Watchdog that displays a status and is notified when a stop begins.
type speaker interface {
	Say(status string) error
	Stopping() error
}

// None is the Watchdog of a development machine: it never restarts anything.
type None struct{}

// Arm implements Watchdog.
func (None) Arm() (time.Duration, error) { return 0, nil }

// Pet implements Watchdog.
func (None) Pet(string) error { return nil }

// Stop implements Watchdog.
func (None) Stop() error { return nil }

// Pair combines two watchdogs: First (systemd) restarts the process, Behind (hardware) resets the
// machine if that did not help. Behind should have the longer countdown, long enough for a new
// process to adopt it.
type Pair struct {
	First, Behind Watchdog
}

// Arm implements Watchdog. It returns the shorter of the two nonzero countdowns.
func (b Pair) Arm() (time.Duration, error) {
	first, err1 := b.First.Arm()
	behind, err2 := b.Behind.Arm()
	if first > 0 && behind > 0 && behind <= first {
		err2 = errors.Join(err2, fmt.Errorf("the hardware watchdog resets after %s, before systemd acts after %s: raise the hardware timeout", behind, first))
	}
	if first == 0 || behind > 0 && behind < first {
		return behind, errors.Join(err1, err2)
	}
	return first, errors.Join(err1, err2)
}

// Pet implements Watchdog. It pets both, even if one fails.
func (b Pair) Pet(status string) error {
	return errors.Join(b.First.Pet(status), b.Behind.Pet(status))
}

// Stop implements Watchdog.
func (b Pair) Stop() error {
	return errors.Join(b.First.Stop(), b.Behind.Stop())
}

// Grace calls the dogs that implement it.
func (b Pair) Grace(d time.Duration) error {
	return b.each(func(dog Watchdog) error {
		if g, ok := dog.(graceful); ok {
			return g.Grace(d)
		}
		return nil
	})
}

// Say calls the dogs that implement it.
func (b Pair) Say(status string) error {
	return b.each(func(dog Watchdog) error {
		if s, ok := dog.(speaker); ok {
			return s.Say(status)
		}
		return nil
	})
}

// Stopping calls the dogs that implement it.
func (b Pair) Stopping() error {
	return b.each(func(dog Watchdog) error {
		if s, ok := dog.(speaker); ok {
			return s.Stopping()
		}
		return nil
	})
}

func (b Pair) each(do func(Watchdog) error) error {
	return errors.Join(do(b.First), do(b.Behind))
}
