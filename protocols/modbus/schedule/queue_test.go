package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

func drain(q *Queue[string], now time.Duration, n int) string {
	var got []string
	for range n {
		item, _, ok := q.Next(now)
		if !ok {
			break
		}
		got = append(got, item.Payload)
		q.Done(item.Unit, now, Answered)
	}
	return strings.Join(got, " ")
}

func fill(q *Queue[string], class Class, unit uint8, prefix string, n int) {
	for i := range n {
		q.Push(Item[string]{Unit: unit, Class: class, Payload: fmt.Sprintf("%s%d", prefix, i)})
	}
}

func TestElectionsGoByClassInBatches(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	fill(q, Probe, 9, "x", 2)
	fill(q, Poll, 1, "p", 3)
	fill(q, Interactive, 1, "i", 2)
	fill(q, Write, 1, "w", 10)
	want := "w0 w1 w2 w3 i0 p0 x0 w4 w5 i1 p1 x1 w6 w7 w8 p2 w9"
	if got := drain(q, 0, 50); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestUnitsTakeTurns(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	fill(q, Poll, 1, "a", 3)
	fill(q, Poll, 2, "b", 1)
	fill(q, Poll, 3, "c", 2)
	if got, want := drain(q, 0, 50), "a0 b0 c0 a1 c1 a2"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestARestingUnitIsPassedOver(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	for _, payload := range []string{"a0", "a1"} {
		q.Push(Item[string]{Unit: 1, Class: Poll, Rest: 50 * ms, Payload: payload})
	}
	fill(q, Poll, 2, "b", 1)
	if got, want := drain(q, 0, 50), "a0 b0"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if _, wait, ok := q.Next(20 * ms); ok || wait != 30*ms {
		t.Fatalf("wait %v, %v", wait, ok)
	}
	if item, _, ok := q.Next(50 * ms); !ok || item.Payload != "a1" {
		t.Fatalf("got %v, %v", item, ok)
	}
	fill(q, Write, 1, "w", 1)
	if _, wait, ok := q.Next(60 * ms); ok || wait != 0 {
		t.Fatalf("a second transaction in flight: wait %v, %v", wait, ok)
	}
}

func TestSilentUnitsShareAQuarterOfTheLine(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	fill(q, Poll, 1, "a", 2)
	fill(q, Poll, 2, "b", 9)
	q.Next(0)
	q.Done(1, 100*ms, NoAnswer)
	if got, want := drain(q, 399*ms, 4), "b0 b1 b2 b3"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got, want := drain(q, 400*ms, 4), "a1 b4 b5 b6"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	fill(q, Interactive, 1, "i", 1)
	if item, _, _ := q.Next(400 * ms); item.Payload != "i0" {
		t.Fatal("somebody waits behind", item.Payload)
	}
}

func TestAUnitThatDidNotAnswerIsLeftQuiet(t *testing.T) {
	q := NewQueue[string](QueueConfig{Quiet: 100 * ms})
	fill(q, Poll, 1, "a", 9)
	now := time.Duration(0)
	for i, x := range []struct {
		outcome     Outcome
		took, quiet time.Duration
	}{{Answered, 50 * ms, 0}, {NoAnswer, 10 * ms, 60 * ms}, {NoAnswer, 50 * ms, 100 * ms}, {Garbled, 50 * ms, 0}} {
		if item, _, ok := q.Next(now); !ok || item.Payload != fmt.Sprintf("a%d", i) {
			t.Fatalf("got %v", item)
		}
		now += x.took
		q.Done(1, now, x.outcome)
		if x.quiet > 0 {
			if _, wait, ok := q.Next(now); ok || wait != x.quiet {
				t.Fatalf("%d: wait %v, %v", i, wait, ok)
			}
		}
		now += x.quiet
	}
}

func TestPollsOfOneKeyMerge(t *testing.T) {
	q := NewQueue[string](QueueConfig{Polls: 2})
	push := func(key, payload string) Verdict {
		v, _ := q.Push(Item[string]{Unit: 1, Class: Poll, Key: key, Payload: payload})
		return v
	}
	if push("fast", "old") != Queued || push("slow", "other") != Queued {
		t.Fatal("refused")
	}
	v, replaced := q.Push(Item[string]{Unit: 1, Class: Poll, Key: "fast", Payload: "new"})
	if v != Merged || replaced.Payload != "old" {
		t.Fatal(v, replaced)
	}
	if push("third", "more") != Refused {
		t.Fatal("a full class took more")
	}
	if v, _ := q.Push(Item[string]{Unit: 2, Class: Write, Key: "fast", Payload: "write"}); v != Queued {
		t.Fatal("full polls keep writes out")
	}
	if v, _ := q.Push(Item[string]{Class: classes}); v != Refused {
		t.Fatal("an unknown class was taken")
	}
	if got, want := drain(q, 0, 9), "write new other"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestExpiredItemsAreHandedBack(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	q.Push(Item[string]{Unit: 1, Class: Poll, Deadline: 10 * ms, Payload: "short"})
	q.Push(Item[string]{Unit: 1, Class: Poll, Deadline: 30 * ms, Payload: "long"})
	q.Push(Item[string]{Unit: 1, Class: Write, Payload: "ever"})
	if gone := q.Expired(9 * ms); len(gone) != 0 {
		t.Fatal(gone)
	}
	if item, _, ok := q.Next(9 * ms); !ok || item.Payload != "ever" {
		t.Fatal(item)
	}
	if _, wait, ok := q.Next(9 * ms); ok || wait != ms {
		t.Fatal("a caller is not woken for a deadline:", wait)
	}
	if _, wait, ok := q.Next(10 * ms); ok || wait != 20*ms {
		t.Fatal(wait, ok)
	}
	if gone := q.Expired(10 * ms); len(gone) != 1 || gone[0].Payload != "short" {
		t.Fatal(gone)
	}
	if q.Len(Poll) != 1 || q.InFlight() != 1 {
		t.Fatal(q.Len(Poll), q.InFlight())
	}
}

func TestUnansweredProbesTakeTheirShareOnly(t *testing.T) {
	q := NewQueue[string](QueueConfig{ProbeShare: 100})
	fill(q, Poll, 9, "live", 1)
	drain(q, 0, 1)
	fill(q, Probe, 1, "a", 1)
	fill(q, Probe, 2, "b", 1)
	fill(q, Probe, 3, "c", 1)
	item, _, _ := q.Next(0)
	q.Done(item.Unit, 100*ms, NoAnswer)
	// 99 times 100 ms after the live unit used the line.
	if _, wait, ok := q.Next(100 * ms); ok || wait != 9800*ms {
		t.Fatal(wait, ok)
	}
	fill(q, Poll, 9, "live", 1)
	drain(q, 5*time.Second, 1)
	if _, wait, ok := q.Next(5 * time.Second); ok || wait != 5*time.Second {
		t.Fatal(wait, ok)
	}
	item, _, _ = q.Next(10 * time.Second)
	q.Done(item.Unit, 10*time.Second+20*ms, Answered)
	if _, _, ok := q.Next(10*time.Second + 20*ms); !ok {
		t.Fatal("an answered probe holds the next one back")
	}
}

func TestDrop(t *testing.T) {
	q := NewQueue[string](QueueConfig{})
	fill(q, Poll, 1, "a", 3)
	fill(q, Write, 1, "w", 1)
	fill(q, Poll, 2, "b", 1)
	gone := q.Drop(func(i Item[string]) bool { return i.Unit == 1 && i.Class == Poll })
	if len(gone) != 3 || q.Len(Poll) != 1 {
		t.Fatal(gone)
	}
	if got, want := drain(q, 0, 9), "w0 b0"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// bench drives a queue with random events and checks its guarantees at each election.
type bench struct {
	q       *Queue[int]
	config  QueueConfig
	now     time.Duration
	next    int
	waiting map[int]Item[int]
	flying  map[uint8][]Item[int]
	since   map[uint8]time.Duration
	ready   map[uint8]time.Duration
	passed  [classes]int
	// ahead counts, for a class and unit that could be elected all along, how often another unit of
	// the class was.
	ahead [classes][5][5]int
}

func (b *bench) bound(c Class) int {
	return [...]int{b.config.Writes, b.config.Interactives, b.config.Polls, b.config.Probes}[c]
}

func (b *bench) push(t *rapid.T) {
	item := Item[int]{
		Unit:    rapid.Uint8Range(1, 4).Draw(t, "unit"),
		Class:   Class(rapid.IntRange(0, int(Poll)).Draw(t, "class")),
		Key:     rapid.SampledFrom([]string{"", "", "k", "l"}).Draw(t, "key"),
		Rest:    time.Duration(rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "rest")) * ms,
		Payload: b.next,
	}
	if rapid.IntRange(0, 3).Draw(t, "mortal") == 0 {
		item.Deadline = b.now + time.Duration(rapid.IntRange(1, 40).Draw(t, "life"))*ms
	}
	b.next++
	before := b.q.Len(item.Class)
	verdict, replaced := b.q.Push(item)
	switch verdict {
	case Refused:
		if before < b.bound(item.Class) {
			t.Fatalf("refused with %d of %d waiting", before, b.bound(item.Class))
		}
		return
	case Merged:
		old, ok := b.waiting[replaced.Payload]
		if !ok || item.Class < Poll || old.Unit != item.Unit || old.Key != item.Key || old.Class != item.Class || item.Key == "" {
			t.Fatalf("%+v replaced %+v", item, replaced)
		}
		delete(b.waiting, replaced.Payload)
	}
	b.arrive(item)
	if n := b.q.Len(item.Class); n > b.bound(item.Class) {
		t.Fatalf("%d of %s wait", n, item.Class)
	}
}

// arrive records an item; the first of its class and unit goes to the end of the turns.
func (b *bench) arrive(item Item[int]) {
	first := true
	for _, i := range b.waiting {
		first = first && (i.Unit != item.Unit || i.Class != item.Class || i.Deadline > 0 && i.Deadline <= b.now)
	}
	if first {
		b.ahead[item.Class][item.Unit] = [5]int{}
	}
	b.waiting[item.Payload] = item
}

// able reports, by the test's own records, whether the item may be sent now.
func (b *bench) able(i Item[int]) bool {
	return len(b.flying[i.Unit]) < b.config.PerUnit && b.now >= b.ready[i.Unit] && (i.Deadline == 0 || b.now < i.Deadline)
}

func (b *bench) election(t *rapid.T) {
	var able [classes]bool
	for _, i := range b.waiting {
		able[i.Class] = able[i.Class] || b.able(i)
	}
	item, wait, ok := b.q.Next(b.now)
	if !ok {
		if able != [classes]bool{} {
			t.Fatal("the line stays idle beside work")
		}
		b.checkWait(t, wait)
		return
	}
	if known, here := b.waiting[item.Payload]; !here || known != item || !b.able(item) {
		t.Fatalf("%+v may not go", item)
	}
	for c := range item.Class {
		if able[c] && b.passed[item.Class] < b.config.Batch {
			t.Fatalf("%s goes before %s after being passed over %d times", item.Class, c, b.passed[item.Class])
		}
	}
	b.count(t, item, able)
	delete(b.waiting, item.Payload)
	b.flying[item.Unit] = append(b.flying[item.Unit], item)
	b.since[item.Unit] = b.now
}

// count checks the bounds on starvation.
func (b *bench) count(t *rapid.T, item Item[int], able [classes]bool) {
	for c := range able {
		if able[c] {
			b.passed[c]++
		}
		if b.passed[c] > b.config.Batch+int(classes) {
			t.Fatalf("%s starves: passed over %d times", Class(c), b.passed[c])
		}
	}
	b.passed[item.Class] = 0
	var turn [5]bool
	for _, other := range b.waiting {
		turn[other.Unit] = turn[other.Unit] || other.Class == item.Class && b.able(other)
	}
	for unit := range turn {
		ahead := &b.ahead[item.Class][unit]
		if !turn[unit] || unit == int(item.Unit) {
			*ahead = [5]int{}
			continue
		}
		if ahead[item.Unit]++; ahead[item.Unit] > 1 {
			t.Fatalf("unit %d goes twice before unit %d", item.Unit, unit)
		}
	}
}

func (b *bench) checkWait(t *rapid.T, wait time.Duration) {
	want := time.Duration(0)
	for _, i := range b.waiting {
		if i.Deadline > 0 && i.Deadline <= b.now {
			continue
		}
		at := b.ready[i.Unit]
		if len(b.flying[i.Unit]) >= b.config.PerUnit {
			at = 0
		}
		for _, moment := range []time.Duration{at, i.Deadline} {
			if moment > b.now && (want == 0 || moment-b.now < want) {
				want = moment - b.now
			}
		}
	}
	if want > 0 && (wait <= 0 || wait > want) {
		t.Fatalf("told to wait %v, something changes in %v", wait, want)
	}
}

func (b *bench) done(t *rapid.T) {
	unit := rapid.Uint8Range(1, 4).Draw(t, "unit")
	outcome := Outcome(rapid.IntRange(0, int(NotSent)).Draw(t, "outcome"))
	b.q.Done(unit, b.now, outcome)
	n := len(b.flying[unit])
	if n == 0 {
		return
	}
	last := b.flying[unit][n-1]
	b.flying[unit] = b.flying[unit][:n-1]
	if outcome != NotSent {
		b.ready[unit] = max(b.ready[unit], b.now+last.Rest)
	}
	if outcome == NoAnswer {
		b.ready[unit] = max(b.ready[unit], b.now+min(b.config.Quiet, 6*(b.now-b.since[unit])))
	}
}

func (b *bench) expire(t *rapid.T) {
	for _, item := range b.q.Expired(b.now) {
		if known, ok := b.waiting[item.Payload]; !ok || known != item || item.Deadline == 0 || item.Deadline > b.now {
			t.Fatalf("%+v expired at %v", item, b.now)
		}
		delete(b.waiting, item.Payload)
	}
	for _, item := range b.waiting {
		if item.Deadline > 0 && item.Deadline <= b.now {
			t.Fatalf("%+v is kept at %v", item, b.now)
		}
	}
}

func TestQueueKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := QueueConfig{Writes: 6, Interactives: 5, Polls: 8, Probes: 1, Batch: rapid.IntRange(1, 4).Draw(t, "batch"), PerUnit: 1, Quiet: 7 * ms, SilentShare: 1}
		b := &bench{
			q: NewQueue[int](config), config: config, waiting: map[int]Item[int]{}, flying: map[uint8][]Item[int]{},
			since: map[uint8]time.Duration{}, ready: map[uint8]time.Duration{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"push":     b.push,
			"push too": b.push,
			"next":     b.election,
			"done":     b.done,
			"expired":  b.expire,
			"time":     func(t *rapid.T) { b.now += time.Duration(rapid.IntRange(0, 10).Draw(t, "ms")) * ms },
		})
		b.finish(t)
	})
}

// finish empties the queue: each waiting item is returned once, and within its unit and class in
// the order of arrival.
func (b *bench) finish(t *rapid.T) {
	for unit, items := range b.flying {
		for range items {
			b.q.Done(unit, b.now, Answered)
		}
		delete(b.flying, unit)
	}
	b.now += time.Hour
	b.expire(t)
	last := map[string]int{}
	for len(b.waiting) > 0 {
		item, _, ok := b.q.Next(b.now)
		if _, here := b.waiting[item.Payload]; !ok || !here {
			t.Fatalf("%d items are lost, got %+v", len(b.waiting), item)
		}
		delete(b.waiting, item.Payload)
		lane := fmt.Sprint(item.Unit, item.Class)
		if item.Key == "" && item.Payload < last[lane] {
			t.Fatalf("%+v comes after %d", item, last[lane])
		}
		if item.Key == "" {
			last[lane] = item.Payload
		}
		b.q.Done(item.Unit, b.now, Answered)
		b.now += time.Second
	}
	if _, wait, ok := b.q.Next(b.now); ok || wait != 0 {
		t.Fatal("something is left")
	}
}
