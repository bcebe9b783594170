package share_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/share"
)

type desk = share.Scheduler[string, int]

const forever = time.Hour

func reading(unit uint8, address uint16, waits int) *share.Transaction[string, int] {
	r := modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: 1}
	return &share.Transaction[string, int]{Request: r, Waiting: []int{waits}, Until: forever}
}

func writing(unit uint8, waits int) *share.Transaction[string, int] {
	r := modbus.Request{Unit: unit, Function: modbus.WriteSingleRegister, Data: []byte{0, 1}}
	return &share.Transaction[string, int]{Request: r, Waiting: []int{waits}, Until: forever}
}

func here(int) bool { return false }

func take(t testing.TB, d *desk, master string, x *share.Transaction[string, int], now time.Duration, want share.Verdict) modbus.Response {
	t.Helper()
	got, a := d.Take(master, x, now)
	if got != want {
		t.Fatalf("verdict %d, want %d", got, want)
	}
	return a
}

func TestWhoAsksMuchWaitsBehindWhoAsksLittle(t *testing.T) {
	d := share.NewScheduler[string, int](1)
	for i := range 5 {
		take(t, d, "greedy", reading(1, uint16(i), i), 0, share.Queued)
	}
	take(t, d, "modest", reading(1, 100, 100), 0, share.Queued)
	take(t, d, "other", reading(1, 200, 200), 0, share.Queued)
	var order []int
	for {
		x, _ := d.Next(0, here)
		if x == nil {
			break
		}
		order = append(order, x.Waiting[0])
		if y, _ := d.Next(0, here); y != nil {
			t.Fatal("two at a time")
		}
		d.Done(x, true, modbus.Response{}, 0)
	}
	if !slices.Equal(order, []int{0, 100, 200, 1, 2, 3, 4}) {
		t.Errorf("order %v", order)
	}
}

func TestTheSameReadsAreOne(t *testing.T) {
	d := share.NewScheduler[string, int](1)
	take(t, d, "a", reading(1, 5, 1), 0, share.Queued)
	take(t, d, "b", reading(1, 5, 2), 0, share.Joined)
	take(t, d, "b", reading(2, 5, 3), 0, share.Queued)
	x, _ := d.Next(0, here)
	take(t, d, "c", reading(1, 5, 4), 0, share.Joined)
	if !slices.Equal(x.Waiting, []int{1, 2, 4}) {
		t.Errorf("%v wait", x.Waiting)
	}
	d.Done(x, true, modbus.Response{}, 0)
	take(t, d, "c", reading(1, 5, 4), 0, share.Queued)
}

func TestAnswersAreKept(t *testing.T) {
	d := share.NewScheduler[string, int](1)
	ask := func(now time.Duration, want share.Verdict) modbus.Response {
		t.Helper()
		x := reading(1, 5, 1)
		x.Keep = time.Second
		return take(t, d, "a", x, now, want)
	}
	ask(0, share.Queued)
	x, _ := d.Next(0, here)
	d.Done(x, true, modbus.Response{Data: []byte{4, 2}}, time.Second)
	if a := ask(2*time.Second-1, share.Known); a.Register(0) != 0x402 {
		t.Errorf("answer %x", a.Data)
	}
	// A caller that accepts no earlier answer gets none.
	take(t, d, "a", reading(1, 5, 1), time.Second, share.Queued)
	x, _ = d.Next(time.Second, here)
	d.Done(x, true, modbus.Response{}, time.Second)
	ask(2*time.Second, share.Queued)
	x, _ = d.Next(0, here)
	d.Done(x, false, modbus.Response{}, time.Second)
	ask(2*time.Second, share.Queued) // a failure is not kept
}

// Writes by others through the same line invalidate what was read before, also after the line is
// restarted.
func TestOthersWrite(t *testing.T) {
	d, tap := share.NewScheduler[string, int](1), modbus.NewTap()
	ask := func(want share.Verdict) {
		t.Helper()
		x := reading(1, 5, 1)
		x.Keep = time.Minute
		if take(t, d, "a", x, 0, want); want == share.Queued {
			x, _ := d.Next(0, here)
			d.SetTap(tap)
			d.Done(x, true, modbus.Response{}, 0)
		}
	}
	ask(share.Queued)
	ask(share.Known)
	for _, unit := range []uint8{1, 0} {
		tap.Wrote(unit)
		ask(share.Queued)
		ask(share.Known)
	}
	tap.Wrote(2)
	ask(share.Known)
	tap = modbus.NewTap()
	d.SetTap(tap)
	ask(share.Queued)
	ask(share.Known)
}

// A read requested after a write is not answered with an earlier value.
func TestAWriteEndsWhatWasRead(t *testing.T) {
	for _, unit := range []uint8{1, 0} {
		d := share.NewScheduler[string, int](2)
		keep := func(waits int) *share.Transaction[string, int] {
			x := reading(1, 5, waits)
			x.Keep = time.Minute
			return x
		}
		take(t, d, "a", keep(1), 0, share.Queued)
		old, _ := d.Next(0, here)
		take(t, d, "b", writing(unit, 2), 0, share.Queued)
		take(t, d, "c", keep(3), 0, share.Queued)
		d.Done(old, true, modbus.Response{}, 0)
		take(t, d, "d", keep(4), 0, share.Joined)
		w, _ := d.Next(0, here)
		during, _ := d.Next(0, here)
		if !w.Request.Write() || !slices.Equal(during.Waiting, []int{3, 4}) {
			t.Fatal("another order")
		}
		d.Done(during, true, modbus.Response{}, 0)
		d.Done(w, true, modbus.Response{}, 0)
		take(t, d, "e", keep(5), 0, share.Queued)
	}
}

func TestWhoHasGoneIsNotAskedFor(t *testing.T) {
	d := share.NewScheduler[string, int](1)
	late := reading(1, 1, 1)
	late.Until = time.Second
	take(t, d, "a", late, 0, share.Queued)
	take(t, d, "a", writing(1, 2), 0, share.Queued)
	take(t, d, "a", reading(1, 3, 3), 0, share.Queued)
	x, gave := d.Next(time.Second, func(w int) bool { return w == 2 })
	if x == nil || x.Waiting[0] != 3 || len(gave) != 2 {
		t.Errorf("next %v, given up %v", x, gave)
	}
}

// Every request is answered once, no more transactions than allowed are under way, and nothing is
// left.
func TestEverybodyIsAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 4).Draw(t, "most")
		d := share.NewScheduler[string, int](most)
		var out []*share.Transaction[string, int]
		answered, asked, now := map[int]int{}, 0, time.Duration(0)
		settle := func(waiting []int) {
			for _, w := range waiting {
				answered[w]++
			}
		}
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for i := 0; i < steps || len(out) > 0 || d.Waiting() > 0; i++ {
			now += time.Duration(rapid.IntRange(0, 100).Draw(t, "ms")) * time.Millisecond
			if i < steps && rapid.Bool().Draw(t, "ask") {
				x := reading(uint8(rapid.IntRange(1, 2).Draw(t, "unit")), uint16(rapid.IntRange(0, 3).Draw(t, "address")), asked)
				if rapid.IntRange(0, 4).Draw(t, "write") == 0 {
					x = writing(1, asked)
				}
				x.Until, x.Keep = now+time.Second, time.Duration(rapid.IntRange(0, 2).Draw(t, "keep"))*100*time.Millisecond
				asked++
				if v, _ := d.Take(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "master"), x, now); v == share.Known || v == share.Full {
					settle(x.Waiting)
				}
			}
			x, late := d.Next(now, here)
			for _, l := range late {
				settle(l.Waiting)
			}
			if x != nil {
				out = append(out, x)
			}
			if len(out) > most {
				t.Fatalf("%d are out", len(out))
			}
			if len(out) > 0 && (i >= steps || rapid.Bool().Draw(t, "done")) {
				x := out[0]
				out = out[1:]
				d.Done(x, rapid.Bool().Draw(t, "good"), modbus.Response{}, now)
				settle(x.Waiting)
			}
		}
		for w := range asked {
			if answered[w] != 1 {
				t.Fatalf("%d was answered %d times", w, answered[w])
			}
		}
	})
}
