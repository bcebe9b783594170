package watchdog

import (
	"errors"
	"fmt"
	"time"
)

// Dog is something outside this process that restarts it unless it is petted.
// Only the keeper calls it, one call at a time. No call may block for more than
// about a second.
type Dog interface {
	// Arm starts the countdown and returns its length; 0 means that nothing will
	// bite, however long nobody pets. It is idempotent: the keeper repeats it
	// after an error. A length with an error is a dog that is armed in part.
	Arm() (time.Duration, error)
	// Pet restarts the countdown. The status is for people.
	Pet(status string) error
	// Stop ends the countdown for a clean stop, as far as the dog allows it.
	Stop() error
}

// graceful is a dog that can be told that the start still takes a while.
type graceful interface {
	// Grace keeps a start that has not come to Arm yet alive for another d.
	Grace(d time.Duration) error
}

// speaker is a dog that shows people a status and hears of a stop that begins.
type speaker interface {
	Say(status string) error
	Stopping() error
}

// None is the dog of a development machine: nothing bites.
type None struct{}

// Arm implements Dog.
func (None) Arm() (time.Duration, error) { return 0, nil }

// Pet implements Dog.
func (None) Pet(string) error { return nil }

// Stop implements Dog.
func (None) Stop() error { return nil }

// Both is two dogs one behind the other: First (systemd) restarts the process,
// Behind (hardware) resets the machine when that did not help. Behind should
// have the longer countdown, long enough for a new process to adopt it.
type Both struct {
	First, Behind Dog
}

// Arm implements Dog. The countdown is the shorter of the two that bite.
func (b Both) Arm() (time.Duration, error) {
	first, err1 := b.First.Arm()
	behind, err2 := b.Behind.Arm()
	if first > 0 && behind > 0 && behind <= first {
		err2 = errors.Join(err2, fmt.Errorf("hardware watchdog bites after %s, before systemd after %s: raise the hardware timeout", behind, first))
	}
	if first == 0 || behind > 0 && behind < first {
		return behind, errors.Join(err1, err2)
	}
	return first, errors.Join(err1, err2)
}

// Pet implements Dog. An error of one does not spare the other its pet.
func (b Both) Pet(status string) error {
	return errors.Join(b.First.Pet(status), b.Behind.Pet(status))
}

// Stop implements Dog.
func (b Both) Stop() error {
	return errors.Join(b.First.Stop(), b.Behind.Stop())
}

// Grace passes on to the dogs that understand it.
func (b Both) Grace(d time.Duration) error {
	return b.each(func(dog Dog) error {
		if g, ok := dog.(graceful); ok {
			return g.Grace(d)
		}
		return nil
	})
}

// Say passes on to the dogs that show a status.
func (b Both) Say(status string) error {
	return b.each(func(dog Dog) error {
		if s, ok := dog.(speaker); ok {
			return s.Say(status)
		}
		return nil
	})
}

// Stopping passes on to the dogs that want to know.
func (b Both) Stopping() error {
	return b.each(func(dog Dog) error {
		if s, ok := dog.(speaker); ok {
			return s.Stopping()
		}
		return nil
	})
}

func (b Both) each(do func(Dog) error) error {
	return errors.Join(do(b.First), do(b.Behind))
}
