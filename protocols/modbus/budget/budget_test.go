package budget_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/serial"
)

func serialLine(baud int) budget.Line {
	return budget.Line{Air: dispatch.Air(serial.CharTime(baud, 11), serial.Silence(baud), modbus.RTU)}
}

func reads(unit uint8, quantities ...uint16) []modbus.Request {
	var all []modbus.Request
	for i, q := range quantities {
		all = append(all, modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: uint16(200 * i), Quantity: q})
	}
	return all
}

// The line from the arithmetic of the specification: 11 bits per character, 8 bytes out, 5 + 2n in,
// t3.5 before each frame.
func TestALineByHand(t *testing.T) {
	char := 11 * time.Second / 9600
	air := time.Duration(8+25)*char + 2*serial.Silence(9600)
	b := budget.Compute(serialLine(9600), []budget.Unit{{
		Name: "meter", Latency: 20 * time.Millisecond, Timeout: time.Second, Backoff: time.Minute,
		Groups: []budget.Group{{Name: "points", Every: time.Second, Requests: reads(7, 10)}},
	}})
	want := air + 20*time.Millisecond
	g := b.Units[0].Groups[0]
	if diff := g.Scan - want; diff.Abs() > time.Microsecond {
		t.Errorf("a scan takes %s, by hand %s", g.Scan, want)
	}
	if math.Abs(b.Share-want.Seconds()) > 1e-6 {
		t.Errorf("share %f, by hand %f", b.Share, want.Seconds())
	}
	if diff := g.Slack - (time.Second - want); diff.Abs() > time.Microsecond {
		t.Errorf("slack %s", g.Slack)
	}
	if b.Silent.Unit != "meter" || b.Silent.Share > 1.0/50 || b.Silent.Pause < time.Second {
		t.Errorf("%+v", b.Silent)
	}
}

func TestRestsAreTheUnitsOwnTime(t *testing.T) {
	u := budget.Unit{Name: "slow", Rest: time.Second, Groups: []budget.Group{{Name: "points", Every: 2 * time.Second, Requests: reads(1, 1, 1, 1)}}}
	b := budget.Compute(serialLine(19200), []budget.Unit{u})
	if own := b.Units[0].Own; own < 1.5 || b.Share > 0.1 || b.Units[0].Slack > 0 {
		t.Errorf("own %f, share %f, slack %s", own, b.Share, b.Units[0].Slack)
	}
	if n := budget.Room(serialLine(19200), nil, u, 0); n != 0 {
		t.Errorf("there is room for %d that cannot keep up by themselves", n)
	}
	if f := budget.FitUnit(b.Units[0]); f < 1.6 || f > 2 {
		t.Errorf("slower by %f", f)
	}
}

func TestNoTimeThatIsKnown(t *testing.T) {
	u := budget.Unit{Name: "fast", Groups: []budget.Group{{Name: "points", Every: time.Second, Requests: reads(1, 100)}}}
	if b := budget.Compute(budget.Line{}, []budget.Unit{u}); b.Share != 0 {
		t.Errorf("share %f", b.Share)
	}
	if n := budget.Room(budget.Line{}, nil, u, 0); n != -1 {
		t.Errorf("room for %d", n)
	}
	if _, ok := budget.Fit(budget.Line{}, nil); ok {
		t.Error("an empty line is advised")
	}
}

// drawUnits draws units and what they ask of a line.
func drawUnits(t *rapid.T, most int) []budget.Unit {
	units := make([]budget.Unit, rapid.IntRange(1, most).Draw(t, "units"))
	for i := range units {
		u := budget.Unit{Name: fmt.Sprintf("meter-%d", i), Timeout: time.Second, Backoff: time.Minute}
		u.Latency = time.Duration(rapid.IntRange(0, 60).Draw(t, "latency")) * time.Millisecond
		if rapid.Bool().Draw(t, "rests") {
			u.Rest = time.Duration(rapid.IntRange(1, 50).Draw(t, "rest")) * time.Millisecond
		}
		for g := range rapid.IntRange(1, 3).Draw(t, "groups") {
			u.Groups = append(u.Groups, budget.Group{
				Name:     fmt.Sprintf("group-%d", g),
				Every:    time.Duration(rapid.IntRange(2, 200).Draw(t, "every")) * 100 * time.Millisecond,
				Requests: reads(uint8(i+1), rapid.SliceOfN(rapid.Uint16Range(1, 125), 1, 4).Draw(t, "reads")...),
			})
		}
		units[i] = u
	}
	return units
}

// Polls that fit according to the budget take exactly that share of a line run by the scheduler,
// and polls changed as advised fit.
func TestTheScheduleTakesWhatTheBudgetSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := serialLine(rapid.SampledFrom([]int{2400, 9600, 19200, 115200}).Draw(t, "baud"))
		units := drawUnits(t, 6)
		b := budget.Compute(line, units)
		for _, u := range b.Units {
			for _, g := range u.Groups {
				if g.Worst == 0 || g.Worst > g.Every {
					t.Skip("it may miss slots, which then take nothing")
				}
			}
		}
		d := newDrive(line, units)
		const span = 10 * time.Minute
		d.run(span)
		if d.missed > 0 {
			t.Fatalf("%d slots are missed that are not by the budget", d.missed)
		}
		if got := d.busy.Seconds() / span.Seconds(); math.Abs(got-b.Share) > 0.02*b.Share+0.002 {
			t.Fatalf("the line was busy for %.4f of its time, the budget says %.4f", got, b.Share)
		}
	})
}

func TestAdviceFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := serialLine(rapid.SampledFrom([]int{1200, 9600}).Draw(t, "baud"))
		line.Others = rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "others")
		units := drawUnits(t, 8)
		if budget.Compute(line, units).Share <= budget.Full {
			return
		}
		a, ok := budget.Fit(line, units)
		if !ok {
			t.Fatal("no advice")
		}
		for i := range units {
			groups := append([]budget.Group(nil), units[i].Groups...)
			for k := range groups {
				switch {
				case a.Factor > 0:
					groups[k].Every = time.Duration(float64(groups[k].Every) * a.Factor)
				case a.Unit == units[i].Name && (a.Group == "" || a.Group == groups[k].Name):
					if a.Every <= groups[k].Every {
						t.Fatalf("%+v is no slower than %s", a, groups[k].Every)
					}
					groups[k].Every = a.Every
				}
			}
			units[i].Groups = groups
		}
		if got := budget.Compute(line, units).Share; got > budget.Comfort+1e-6 {
			t.Fatalf("%+v leaves the line at %.4f", a, got)
		}
	})
}

func TestRoomIsWhatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line, units := serialLine(9600), drawUnits(t, 3)
		like := units[0]
		every := time.Duration(rapid.IntRange(0, 20).Draw(t, "every")) * time.Second
		n := budget.Room(line, units, like, every)
		if n <= 0 || n > 500 {
			return
		}
		if every > 0 {
			like.Groups = append([]budget.Group(nil), like.Groups...)
			for i := range like.Groups {
				like.Groups[i].Every = every
			}
		}
		for range n {
			units = append(units, like)
		}
		if got := budget.Compute(line, units).Share; got > budget.Comfort+1e-6 {
			t.Fatalf("%d more make it %.4f", n, got)
		}
		if got := budget.Compute(line, append(units, like)).Share; got <= budget.Comfort {
			t.Fatalf("%d more make it only %.4f", n+1, got)
		}
	})
}

// drive is a line in virtual time that carries what the scheduler elects.
type drive struct {
	line  budget.Line
	queue *schedule.Queue[*scan]
	scans []*scan
	now   time.Duration
	busy  time.Duration

	missed int
}

type scan struct {
	unit  *budget.Unit
	group *budget.Group
	due   time.Duration
	sent  int
	left  int
}

func newDrive(line budget.Line, units []budget.Unit) *drive {
	d := &drive{line: line, queue: schedule.NewQueue[*scan](schedule.QueueConfig{})}
	for i := range units {
		for k := range units[i].Groups {
			s := &scan{unit: &units[i], group: &units[i].Groups[k]}
			s.due = time.Duration(len(d.scans)*7919%100) * s.group.Every / 100
			d.scans = append(d.scans, s)
		}
	}
	return d
}

func (d *drive) run(until time.Duration) {
	for d.now < until {
		next := until
		for _, s := range d.scans {
			for s.due <= d.now {
				s.due += s.group.Every
				if s.left > 0 {
					d.missed++
				} else {
					s.sent, s.left = 0, len(s.group.Requests)
					for _, r := range s.group.Requests {
						d.queue.Push(schedule.Item[*scan]{Unit: r.Unit, Class: schedule.Poll, Rest: s.unit.Rest, Payload: s})
					}
				}
			}
			next = min(next, s.due)
		}
		item, wait, ok := d.queue.Next(d.now)
		if !ok {
			if wait > 0 {
				next = min(next, d.now+wait)
			}
			d.now = next
			continue
		}
		s := item.Payload
		took := d.line.Air(s.group.Requests[s.sent]) + s.unit.Latency
		s.sent++
		s.left--
		d.now += took
		d.busy += took
		d.queue.Done(item.Unit, d.now, schedule.Answered)
	}
}
