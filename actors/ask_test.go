package actors_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
)

// peer starts an actor that answers every request with fn.
func (r rig) peer(name string, fn func(c *actors.Context)) *actors.Cell {
	return r.Start(name, scripted(func(c *actors.Context, _ any) error {
		if c.Request() != nil {
			fn(c)
		}
		return nil
	}), &structpb.Struct{})
}

// asker forwards every do to a peer and answers with the outcome.
func asker(name string) script {
	return func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case do:
			c.Ask(name, m, time.Second)
		case result:
			c.Reply(m)
		case actors.Failed:
			if _, ok := m.Of.(do); !ok {
				c.Reply("of nothing")
			}
			c.Refuse(m.Err)
		}
		return nil
	}
}

func TestAsk(t *testing.T) {
	for name, tt := range map[string]struct {
		peer string
		fn   func(c *actors.Context)
		code string // "" for a result
		says string
	}{
		"answered":       {"peer", func(c *actors.Context) { c.Reply(result{1}) }, "", ""},
		"refused":        {"peer", func(c *actors.Context) { c.Refuse(errTest) }, bus.FailedPrecondition, "test error"},
		"refused, typed": {"peer", func(c *actors.Context) { c.Refuse(bus.Errorf(bus.NotFound, "no such unit")) }, bus.NotFound, "no such unit"},
		"taken":          {"peer", func(c *actors.Context) { c.Take() }, bus.DeadlineExceeded, "peer did not answer within 1s"},
		"ignored":        {"peer", func(*actors.Context) {}, bus.Unimplemented, "peer does not answer actors_test.do"},
		"misspelt":       {"peeer", func(*actors.Context) {}, bus.NotFound, `did you mean "peer"?`},
		"fails":          {"peer", func(*actors.Context) { panic("oops") }, bus.Internal, "peer failed: panic: oops"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				r.peer("peer", tt.fn)
				cell := r.start(asker(tt.peer))
				a := r.ask(do{})
				pass(2 * time.Second)
				switch {
				case !a.done:
					t.Fatal("not answered")
				case tt.code == "" && a.msg != result{1}:
					t.Errorf("%+v", a)
				case tt.code != "" && (a.err == nil || bus.AsError(a.err).Code != tt.code || !strings.Contains(a.err.Error(), tt.says)):
					t.Errorf("%+v, want %s: %s", a, tt.code, tt.says)
				}
				if cell.Life() != 1 {
					t.Error("the asker has suffered")
				}
			})
		})
	}
}

// An answer after the deadline, or for a life that is over, is dropped.
func TestLateAnswer(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var held []*actors.Request
		r.peer("peer", func(c *actors.Context) { held = append(held, c.Take()) })
		got := 0
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				if m.what == "fail" {
					return errTest
				}
				c.Ask("peer", m, time.Second)
			case actors.Failed:
				c.Refuse(m.Err)
			case result:
				got++
			}
			return nil
		})
		r.ask(do{"one"})
		pass(2 * time.Second)
		held[0].Reply(result{1})
		r.ask(do{"two"})
		r.ask(do{"fail"})
		held[1].Reply(result{2})
		pass(2 * time.Second)
		if got > 0 {
			t.Errorf("%d late answers were delivered", got)
		}
		if a := held[1]; !a.Canceled() {
			t.Error("the peer cannot see that it is too late")
		}
	})
}

// Anything begun while a request is served is part of serving it.
func TestContinuations(t *testing.T) {
	for name, begin := range map[string]func(c *actors.Context){
		"ask":   func(c *actors.Context) { c.Ask("peer", do{}, time.Second) },
		"do":    func(c *actors.Context) { c.Do(time.Second, func(ctx) (any, error) { return result{1}, nil }) },
		"after": func(c *actors.Context) { c.After(time.Second, result{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				r.peer("peer", func(c *actors.Context) { c.Reply(result{1}) })
				hops := 0
				r.start(func(c *actors.Context, msg any) error {
					switch m := msg.(type) {
					case do:
						begin(c)
					case result:
						if hops++; hops < 3 { // another continuation of a continuation
							begin(c)
							return nil
						}
						if c.Request() == nil || c.Request().Message() != (do{"x"}) {
							t.Error("the request was lost on the way")
						}
						c.Reply(m)
					}
					return nil
				})
				a := r.ask(do{"x"})
				pass(5 * time.Second)
				if !a.done || a.msg != (result{1}) {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}

// A request that nothing is going to answer is answered by the host: at once, or when the last
// continuation has ended without an answer.
func TestNobodyAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		begin func(c *actors.Context)
		after time.Duration
	}{
		"at once": {func(*actors.Context) {}, 0},
		"worker": {func(c *actors.Context) {
			c.Do(time.Minute, func(ctx) (any, error) { time.Sleep(time.Second); return tick{}, nil })
		}, time.Second},
		"after": {func(c *actors.Context) { c.After(time.Second, tick{}) }, time.Second},
		"called off": {func(c *actors.Context) {
			alarm := c.After(time.Hour, tick{})
			alarm.Stop()
			alarm.Stop()
		}, 0},
		"twice": {func(c *actors.Context) { c.After(time.Second, tick{}); c.After(2*time.Second, tick{}) }, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				r.start(func(c *actors.Context, msg any) error {
					if _, ok := msg.(do); ok {
						tt.begin(c)
					}
					return nil
				})
				a := r.ask(do{})
				if tt.after > 0 {
					pass(tt.after - time.Millisecond)
					if a.done {
						t.Error("answered while somebody could still answer")
					}
					pass(2 * time.Millisecond)
				}
				if !a.done || bus.AsError(a.err).Code != bus.Unimplemented {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}

// A timer that is stopped elsewhere releases the request it belonged to.
func TestAlarmCalledOffLater(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var alarm *actors.Timer
		rang := false
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				if m.what == "stop" {
					alarm.Stop()
					c.Reply(nil)
					return nil
				}
				alarm = c.After(time.Hour, tick{})
			case tick:
				rang = true
			}
			return nil
		})
		a := r.ask(do{"start"})
		if a.done {
			t.Fatal("answered too early")
		}
		r.ask(do{"stop"})
		if !a.done || a.err == nil {
			t.Errorf("%+v", a)
		}
		pass(2 * time.Hour)
		if rang {
			t.Error("a stopped alarm rings")
		}
	})
}

func TestTaken(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var held *actors.Request
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				switch m.what {
				case "fail":
					return errTest
				case "release":
					held.Reply(result{1})
					held.Reply(result{2}) // only the first answer counts
					held.Refuse(errTest)
					c.Reply(nil)
				default:
					held = c.Take()
				}
			}
			return nil
		})
		a := r.ask(do{"hold"})
		pass(time.Hour)
		if a.done {
			t.Fatal("a request that was taken is answered by somebody else")
		}
		r.ask(do{"release"})
		if a.msg != (result{1}) || a.err != nil {
			t.Errorf("%+v", a)
		}
		b := r.ask(do{"hold"})
		r.ask(do{"fail"})
		if !b.done || bus.AsError(b.err).Code != bus.Unavailable || !strings.Contains(b.err.Error(), "test error") {
			t.Errorf("when the life ends, who waits is told %+v", b)
		}
		held.Reply(result{3}) // no effect
	})
}

// Callers of an actor that stops, is stopped or hangs in Stopped get an error.
func TestDyingLifeTells(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		entered, release := make(chan struct{}), make(chan struct{})
		cell := r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Stopped:
				close(entered)
				<-release
			case do:
				c.Reply(result{1})
			}
			return nil
		})
		r.System.Runtime().Root.Stop(cell.PID())
		<-entered
		var waiting []*answer
		for range 10 {
			waiting = append(waiting, r.ask(do{}))
		}
		close(release)
		synctest.Wait()
		waiting = append(waiting, r.ask(do{})) // after the end
		for i, a := range waiting {
			if !a.done || bus.AsError(a.err).Code != bus.Unavailable {
				t.Errorf("%d: %+v", i, a)
			}
		}
		r.Spawn(cell)
		synctest.Wait()
		if n := cell.Counters().Waiting; n != 0 {
			t.Errorf("%d messages wait in a new life", n)
		}
	})
}

// The mailbox outlives a failure: the next life handles the waiting messages.
func TestQueueOutlivesFailure(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		release := make(chan struct{})
		r.start(func(c *actors.Context, msg any) error {
			if m, ok := msg.(do); ok {
				if m.what == "fail" {
					<-release
					return errTest
				}
				c.Reply(result{int(c.Life())})
			}
			return nil
		})
		r.ask(do{"fail"})
		a := r.ask(do{"next"})
		close(release)
		synctest.Wait()
		if a.msg != (result{2}) {
			t.Errorf("%+v", a)
		}
	})
}

func TestTell(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		heard := 0
		r.peer("peer", func(c *actors.Context) { heard++; c.Reply(result{1}) })
		r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case do:
				c.Tell("peer", do{})
				c.Tell("nobody", do{})
				c.Reply(nil)
			case result, actors.Failed:
				t.Error("an answer to Tell")
			}
			return nil
		})
		r.ask(do{})
		if heard != 1 {
			t.Errorf("heard %d times", heard)
		}
	})
}

func TestRefuseKeepsCode(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var with error
		r.start(func(c *actors.Context, msg any) error {
			if _, ok := msg.(do); ok {
				c.Refuse(with)
			}
			return nil
		})
		for _, tt := range []struct {
			err  error
			code string
		}{
			{errTest, actors.FailedPrecondition},
			{actors.Errorf(actors.NotFound, "unit 7"), actors.NotFound},
			{errors.Join(errTest, actors.Errorf(actors.Aborted, "x")), actors.Aborted},
		} {
			with = tt.err
			a := r.ask(do{})
			if code, text := actors.Explain(a.err); code != tt.code || text == "" {
				t.Errorf("%v is refused with %s: %s", tt.err, code, text)
			}
		}
		r.noFault()
	})
}
