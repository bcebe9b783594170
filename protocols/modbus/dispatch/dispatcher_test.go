package dispatch

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
)

func ask(class schedule.Class, units ...uint8) *Ask {
	a := &Ask{Class: class, Timeouts: []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}}
	for _, u := range units {
		a.Requests = append(a.Requests, modbus.Request{Unit: u, Function: modbus.ReadHoldingRegisters, Quantity: 1})
	}
	return a
}

// pretend acts as Run: each transaction ends with the result of fn.
func pretend(w *Batch, fn func(r modbus.Request) error) {
	for i, p := range w.parts {
		if i > 0 && w.hurry.Load() {
			return
		}
		err := fn(p.request())
		*p.res = Result{Err: err, Outcome: outcome(err), At: time.Now()}
		w.ran++
		if modbus.LinkLost(err) {
			w.Lost = err
			return
		}
		if p.res.Outcome == schedule.NoAnswer {
			p.job.silent.Add(1)
			return
		}
		p.job.silent.Store(0)
	}
}

// lostError returns the error of a connection that the far end had closed before r was sent.
func lostError(t *testing.T, r modbus.Request) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	_ = near.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _ = near.Read(make([]byte, 1)) // until the end of the stream has arrived
	_, err = modbus.NewLink(near, modbus.TCP, modbus.Options{}).Do(context.Background(), r)
	if !modbus.LinkLost(err) {
		t.Fatalf("no lost link: %v", err)
	}
	return err
}

// Whatever happens, every Ask is answered exactly once.
func TestEveryAskIsAnsweredOnce(t *testing.T) {
	ended := lostError(t, ask(schedule.Poll, 1).Requests[0])
	rapid.Check(t, func(t *rapid.T) {
		inFlight := rapid.IntRange(1, 4).Draw(t, "in flight")
		c := New(Config{BatchSize: rapid.IntRange(1, 8).Draw(t, "batch"), InFlight: inFlight, Quiet: time.Duration(rapid.IntRange(0, 3).Draw(t, "quiet")) * time.Second})
		answers, sent := map[*Ask]int{}, uint64(0)
		now := time.Duration(1)
		var batches []*Batch
		finish := func() {
			i := rapid.IntRange(0, len(batches)-1).Draw(t, "which")
			work := batches[i]
			batches = slices.Delete(batches, i, i+1)
			pretend(work, func(modbus.Request) error {
				err := rapid.SampledFrom([]error{nil, nil, &modbus.Exception{Code: 2}, modbus.ErrTimeout, modbus.ErrCorrupt, ended}).Draw(t, "err")
				if err != ended {
					sent++
				}
				return err
			})
			c.Done(work, now)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 2000).Draw(t, "pass")) * time.Millisecond
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				a := ask(schedule.Class(rapid.IntRange(0, 3).Draw(t, "class")), rapid.SliceOfN(rapid.Uint8Range(1, 3), 0, 4).Draw(t, "units")...)
				a.Key = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key")
				answers[a] = 0
				c.Submit(a, now, func(got *Answer) {
					if answers[got.Ask]++; len(got.Results) != len(got.Ask.Requests) {
						t.Fatal("a result for each request")
					}
				})
			case 2:
				if w, _ := c.Next(now); w != nil {
					batches = append(batches, w)
				}
				if len(batches) > inFlight {
					t.Fatalf("%d batches under way", len(batches))
				}
			case 3:
				if len(batches) > 0 {
					finish()
				}
			case 4:
				c.Down("unplugged")
			case 5:
				c.Up()
			}
		}
		for len(batches) > 0 {
			finish()
		}
		c.Down("the end")
		for a, n := range answers {
			if n != 1 {
				t.Fatalf("%v was answered %d times", a, n)
			}
		}
		if len(c.keyed) != 0 || c.Busy() {
			t.Fatal("something is left")
		}
		n, all := c.Counts(), Total(c.Tallies())
		refused, timed := uint64(0), uint64(0)
		for _, n := range all.Exceptions {
			refused += n
		}
		for _, n := range all.Latency {
			timed += n
		}
		if all.Requests != sent || all.Answered != n.Answered || refused != n.Exceptions || all.Timeouts != n.Timeouts || all.Corrupt != n.Corrupt ||
			all.Answered+refused+all.Timeouts+all.Corrupt != sent || timed != all.Answered+refused {
			t.Fatalf("%d sent, counted %+v, tallied %+v", sent, n, all)
		}
	})
}

func TestALostConnection(t *testing.T) {
	read := ask(schedule.Poll, 1)
	write := ask(schedule.Write, 1)
	write.Requests[0] = modbus.Request{Unit: 1, Function: modbus.WriteSingleRegister, Quantity: 1, Data: []byte{0, 1}}
	early := lostError(t, write.Requests[0])
	for name, x := range map[string]struct {
		ask   *Ask
		err   error
		again bool
	}{
		"a write not sent is sent again": {write, early, true},
		"a read is sent again":           {read, early, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Config{})
			var got *Answer
			c.Submit(x.ask, 1, func(a *Answer) { got = a })
			for try := range 2 {
				w, _ := c.Next(2)
				if w == nil {
					t.Fatalf("try %d: nothing to send", try)
				}
				pretend(w, func(modbus.Request) error { return x.err })
				c.Done(w, 3)
				if again := got == nil; again != (x.again && try == 0) {
					t.Fatalf("try %d: sent again %v", try, again)
				}
				if got != nil {
					return
				}
			}
		})
	}
}

func TestWorkEndsWhereAUnitIsSilent(t *testing.T) {
	near, far := net.Pipe()
	d, other := sim.NewDevice(1), sim.NewDevice(2)
	d.Put(sim.HoldingRegisters, 0, 7)
	d.Behave(sim.Behaviour{Silent: true})
	other.Put(sim.HoldingRegisters, 0, 8)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.NewPlant(d, other).ServeStream(ctx, far, modbus.TCP) }()
	defer func() { cancel(); <-done }()
	c := New(Config{BatchSize: 8})
	var silent, healthy *Answer
	c.Submit(ask(schedule.Poll, 1, 1, 1), 1, func(a *Answer) { silent = a })
	c.Submit(ask(schedule.Poll, 2), 1, func(a *Answer) { healthy = a })
	link := modbus.NewLink(near, modbus.TCP, modbus.Options{})
	for now := time.Duration(1); silent == nil || healthy == nil; now += time.Second {
		if w, _ := c.Next(now); w != nil {
			w.Run(ctx, link)
			c.Done(w, now)
		}
		if now > time.Minute {
			t.Fatal("not answered")
		}
	}
	if healthy.Results[0].Register(0) != 8 {
		t.Error(healthy.Results)
	}
	if r := silent.Results; r[0].Outcome != schedule.NoAnswer || r[1].Outcome != schedule.NoAnswer || r[2].Err != errGivenUp {
		t.Error(silent.Results)
	}
	if n := c.Counts(); n.Answered != 1 || n.Timeouts != 2 || d.Counters().Requests != 2 {
		t.Error(n, d.Counters())
	}
}

// A unit that must rest, or has not answered, has one transaction under way at a time; others have
// as many as there are batches.
func TestManyWorks(t *testing.T) {
	c := New(Config{BatchSize: 8, InFlight: 4})
	resting := ask(schedule.Poll, 1, 1)
	resting.Rest = time.Second
	c.Submit(resting, 1, func(*Answer) {})
	c.Submit(ask(schedule.Poll, 2, 2, 2, 2, 2), 1, func(*Answer) {})
	units := map[uint8]int{}
	var batches []*Batch
	for w, _ := c.Next(2); w != nil; w, _ = c.Next(2) {
		batches = append(batches, w)
		units[w.parts[0].request().Unit]++
	}
	if len(batches) != 4 || units[1] != 1 || units[2] != 3 {
		t.Fatal(units)
	}
	for _, w := range batches {
		pretend(w, func(r modbus.Request) error {
			if r.Unit == 2 {
				return modbus.ErrTimeout
			}
			return nil
		})
		c.Done(w, 3)
	}
	w, _ := c.Next(3)
	if w != nil {
		t.Errorf("unit %d goes on", w.parts[0].request().Unit)
	}
}

// If the check fails when the turn of a request comes, nothing of it is sent; a request that has
// begun is completed.
func TestWhatDoesNotStandIsNotSent(t *testing.T) {
	c := New(Config{})
	revoked := error(nil)
	stands := func() error { return revoked }
	answers := map[string]*Answer{}
	take := func(name string) {
		c.SubmitIf(ask(schedule.Interactive, 1, 1), 0, stands, func(a *Answer) { answers[name] = a })
	}
	take("begun")
	take("waits")
	sent := 0
	for {
		w, _ := c.Next(0)
		if w == nil {
			break
		}
		pretend(w, func(modbus.Request) error { sent++; return nil })
		revoked = errors.New("the identity is revoked")
		c.Done(w, 0)
	}
	if sent != 2 || len(answers) != 2 || answers["begun"].Results[1].Err != nil {
		t.Errorf("%d were sent, answers are %v", sent, answers)
	}
	for _, r := range answers["waits"].Results {
		if !errors.Is(r.Err, revoked) || r.Unsure() || r.Outcome != schedule.NotSent {
			t.Errorf("it ended with %+v", r)
		}
	}
}
