package schedule

import (
	"testing"
	"time"
)

// On a line that no other unit needs, a silent unit is not held back.
func TestALineNobodyElseNeedsIsFree(t *testing.T) {
	for _, class := range []Class{Poll, Probe} {
		q := NewQueue[string](QueueConfig{})
		for i := range 10 {
			for unit := range uint8(3) { // all silent
				fill(q, class, unit, "a", 1)
			}
			for range 3 {
				item, wait, ok := q.Next(time.Duration(i) * time.Second)
				if !ok {
					t.Fatalf("%s %d: told to wait %v", class, i, wait)
				}
				q.Done(item.Unit, time.Duration(i)*time.Second+300*ms, NoAnswer)
			}
		}
	}
}

// A unit that no longer uses the line does not hold others back for long; one that waits does as
// long as it waits.
func TestWhoNeedsTheLine(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	fill(q, Poll, 1, "a", 2)
	fill(q, Poll, 2, "live", 1)
	q.Next(0)
	q.Done(1, 100*ms, NoAnswer)
	if got := drain(q, 100*ms, 1); got != "live0" {
		t.Fatal(got)
	}
	if _, wait, ok := q.Next(200 * ms); ok || wait != 200*ms {
		t.Fatal("a live unit was there just now", wait, ok)
	}
	if item, _, ok := q.Next(400 * ms); !ok || item.Payload != "a1" {
		t.Fatal(item, ok)
	}
	q.Done(1, 500*ms, NoAnswer)
	fill(q, Poll, 1, "b", 1)
	if item, _, ok := q.Next(500 * ms); !ok || item.Payload != "b0" {
		t.Fatal("the live unit has not been back", item, ok)
	}
	q.Done(1, 600*ms, NoAnswer)
	q.Push(Item[string]{Unit: 3, Class: Interactive, Payload: "i"})
	q.Push(Item[string]{Unit: 1, Class: Poll, Payload: "c"})
	if item, _, _ := q.Next(600 * ms); item.Payload != "i" {
		t.Fatal("somebody waits behind", item.Payload)
	}
	if item, _, ok := q.Next(600 * ms); ok {
		t.Fatal("a unit that is being asked needs the line", item)
	}
}

// A unit that comes back on a line of its own is found within its own back-off, and so are twenty
// of them.
func TestOnALineOfTheirOwnUnitsAreFoundWithinTheirBackoff(t *testing.T) {
	for _, silent := range []uint8{1, 20} {
		l := newLine(0, silent)
		l.run(100 * time.Second)
		most := time.Duration(0)
		for _, b := range l.breakers {
			if !b.Open() {
				t.Fatal("not given up")
			}
			most = max(most, b.Until()-l.now)
		}
		l.revived = true
		for back := l.now + most + time.Duration(silent)*200*ms; l.now < back; {
			l.run(l.now + 10*ms)
		}
		for unit, b := range l.breakers {
			if b.Open() {
				t.Errorf("unit %d of %d is still open %v after it came back", unit, silent, most)
			}
		}
	}
}

// Units that poll at their own interval on a line that is not full keep their slots beside silent
// ones, whatever the interval.
func TestSilentUnitsCostARhythmNothing(t *testing.T) {
	for _, every := range []time.Duration{200 * ms, time.Second, 10 * time.Second, 5 * time.Minute} {
		l := newLine(3, 20)
		l.every = every
		l.run(10 * time.Minute)
		begin := l.now
		got := l.run(begin + 100*every)
		if want := 3 * 100; got < want*99/100 {
			t.Errorf("every %v: %d of %d slots", every, got, want)
		}
	}
}
