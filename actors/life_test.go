package actors_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Wherever and however an actor fails, it is one fault with its level. The failed life gets
// Stopped, and everything it owned is closed before the next one begins.
func TestFailureAnywhere(t *testing.T) {
	var nilMap map[string]int
	ways := map[string]struct {
		fail   func() error
		level  actors.Level
		panics bool
		says   string
	}{
		"error":          {func() error { return errTest }, actors.LevelRestart, false, "test error"},
		"wedged":         {func() error { return actors.Wedged(errTest) }, actors.LevelCycle, false, "test error"},
		"broken":         {func() error { return actors.Broken(errTest) }, actors.LevelBroken, false, "test error"},
		"wrapped wedged": {func() error { return fmt.Errorf("port: %w", actors.Wedged(errTest)) }, actors.LevelCycle, false, "port: test error"},
		"panic":          {func() error { panic("oops") }, actors.LevelRestart, true, "panic: oops"},
		"panic error":    {func() error { panic(errTest) }, actors.LevelRestart, true, "panic: test error"},
		"panic nil":      {func() error { panic(nil) }, actors.LevelRestart, true, "nil"}, //nolint:govet // what bad code does
		"runtime":        {func() error { nilMap["a"] = 1; return nil }, actors.LevelRestart, true, "nil map"},
	}
	places := []string{"Started", "message", "tick", "Reconfigured", "result", "Failed", "answer", "post"}
	for name, way := range ways {
		for _, place := range places {
			t.Run(name+" in "+place, func(t *testing.T) {
				virtual(t, func(t *testing.T, r rig) {
					s := &saboteur{place: place, fail: way.fail}
					k := scripted(s.receive)
					k.Live = true
					cell := r.Start(path, k, &structpb.Struct{})
					r.Start("peer", scripted(func(c *actors.Context, msg any) error { c.Reply(result{1}); return nil }), &structpb.Struct{})
					synctest.Wait()
					var a *answer
					switch place {
					case "Reconfigured":
						cell.Reconfigure(&structpb.Struct{})
					case "Started":
					default:
						a = r.ask(do{place})
					}
					pass(time.Second)
					f := r.fault()
					if f.Path != path || f.Life != 1 || f.Level != way.level || (f.Stack != nil) != way.panics || !strings.Contains(f.Error(), way.says) {
						t.Errorf("fault %+v", f)
					}
					if !way.panics && !errors.Is(f, errTest) && way.says != "nil" {
						t.Error("the cause cannot be unwrapped")
					}
					if want := []string{"1 started", "1 stopped", "2 started"}; !slices.Equal(s.log, want) {
						t.Errorf("happened: %q, want %q", s.log, want)
					}
					if place != "Started" && !s.owned.isClosed() {
						t.Error("what it owned is not closed")
					}
					if a != nil && (!a.done || a.err == nil) {
						t.Errorf("who asked is told %+v", a)
					}
					if cell.Life() != 2 || cell.Counters().Failures != 1 {
						t.Errorf("life %d, %d failures", cell.Life(), cell.Counters().Failures)
					}
					r.noFault()
				})
			})
		}
	}
}

// saboteur fails at one point of its first life.
type saboteur struct {
	place string
	fail  func() error
	owned *closer
	log   []string
}

func (s *saboteur) receive(c *actors.Context, msg any) error {
	first := c.Life() == 1
	at := func(place string) error {
		if first && s.place == place {
			return s.fail()
		}
		return nil
	}
	switch m := msg.(type) {
	case actors.Started:
		s.log = append(s.log, fmt.Sprint(c.Life(), " started"))
		if first {
			s.owned = newCloser()
			c.Own(s.owned)
		}
		return at("Started")
	case actors.Stopped:
		s.log = append(s.log, fmt.Sprint(c.Life(), " stopped"))
	case do:
		return s.do(c, m)
	case tick:
		return at("tick")
	case actors.Reconfigured:
		return at("Reconfigured")
	case actors.Failed:
		return at("Failed")
	case result:
		if m.n == 1 {
			return at("answer")
		}
		if m.n == 2 {
			return at("result")
		}
		return at("post")
	}
	return nil
}

func (s *saboteur) do(c *actors.Context, m do) error {
	c.Take()
	switch m.what {
	case "message":
		return s.fail()
	case "tick":
		c.Every(10*time.Millisecond, tick{})
	case "result":
		c.Do(time.Second, func(ctx ctx) (any, error) { return result{2}, nil })
	case "Failed":
		c.Do(time.Second, func(ctx ctx) (any, error) { return nil, errTest })
	case "answer":
		c.Ask("peer", do{"x"}, time.Second)
	case "post":
		post := c.Post()
		c.Do(time.Second, func(ctx ctx) (any, error) { return nil, post(result{3}) })
	}
	return nil
}

// A build that panics is a fault like any other, and Stopped is not sent to a missing actor.
func TestBuildPanics(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		lives := 0
		k := actors.Define(actors.Kind{Name: "scripted", Doc: "does as told"}, func(*structpb.Struct) actors.Actor {
			if lives++; lives == 1 {
				panic("oops")
			}
			return script(func(*actors.Context, any) error { return nil })
		})
		cell := r.Start(path, k, &structpb.Struct{})
		if f := r.fault(); f.Stack == nil || cell.Life() != 2 {
			t.Errorf("life %d: %v", cell.Life(), f)
		}
	})
}

// Whatever goes wrong in Stopped, the actor stops, and what it owned is closed.
func TestStoppedFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errTest },
		"panic": func() error { panic("oops") },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				owned := newCloser()
				stopped := 0
				cell := r.start(func(c *actors.Context, msg any) error {
					switch msg.(type) {
					case actors.Started:
						c.Own(owned)
					case actors.Stopped:
						stopped++
						return fail()
					}
					return nil
				})
				r.Stop(cell)
				if !owned.isClosed() || stopped != 1 || cell.State() != actors.Gone {
					t.Errorf("closed %v, stopped %d times, %s", owned.isClosed(), stopped, cell.State())
				}
				r.noFault()
			})
		})
	}
}

// What an actor begins while handling Stopped does not outlive it.
func TestStoppedBegins(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var after int
		over := false
		var ended error
		cell := r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Stopped:
				c.Every(time.Second, tick{})
				c.After(time.Second, tick{})
				c.Ask("nobody", tick{}, time.Second)
				c.Do(time.Minute, func(ctx ctx) (any, error) {
					<-ctx.Done()
					ended = ctx.Err()
					return tick{}, nil
				})
				over = true
			default:
				if over {
					after++
				}
			}
			return nil
		})
		r.Stop(cell)
		pass(time.Minute)
		if after > 0 || ended == nil {
			t.Errorf("%d messages after the last; the worker ended with %v", after, ended)
		}
		r.Spawn(cell)
		pass(time.Minute)
		if after != 1 { // the Started of the new life
			t.Errorf("%d messages from an old life", after-1)
		}
	})
}

// A life that is fenced is silent, whatever its goroutine still does.
func TestFencedLifeIsMute(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		release, owned := make(chan struct{}), newCloser()
		lives := 0
		cell := r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Started:
				lives++
				c.Own(owned)
				c.OK()
			case do:
				<-release
				c.Publish("late", &structpb.Struct{})
				c.Event("late", &structpb.Struct{})
				c.State("late", &structpb.Struct{})
				c.Degraded("late")
				c.Reply(result{1})
				c.Tell(path, result{9})
				c.Ask(path, result{9}, time.Second)
				c.Do(time.Second, func(ctx) (any, error) { return result{9}, nil })
				return errTest
			case result:
				t.Error("a fenced life has spoken")
			}
			return nil
		})
		a, queued := r.ask(do{"hang"}), r.ask(do{"waits"})
		cell.Close("it hung and was abandoned")
		cell.Fence()
		synctest.Wait()
		for name, a := range map[string]*answer{"who was served": a, "who waited": queued} {
			if !a.done || bus.AsError(a.err).Code != bus.Unavailable {
				t.Errorf("%s is told %+v", name, a)
			}
		}
		if !owned.isClosed() {
			t.Error("what it owned is not closed")
		}
		r.Spawn(cell)
		synctest.Wait()
		close(release)
		pass(time.Minute)
		if cell.State() != actors.OK || lives != 2 {
			t.Errorf("%s in life %d", cell.State(), lives)
		}
		for _, p := range r.bus.All() {
			if strings.HasSuffix(p.Subject, ".late") {
				t.Errorf("a fenced life has published %s", p.Subject)
			}
		}
		r.noFault()
		if a := r.ask(tick{}); !a.done {
			t.Error("the new life does not answer")
		}
	})
}

// Health contains the life and the time of the change, and is published on change only.
func TestHealth(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		cell := r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case actors.Started:
				c.OK()
			case do:
				switch m.what {
				case "ok":
					c.OK()
				case "degraded":
					c.Degraded("no answer")
				case "unreachable":
					c.Unreachable("no answer for 1m")
				case "fail":
					return errTest
				}
				c.Reply(nil)
			}
			return nil
		})
		for _, what := range []string{"ok", "ok", "degraded", "degraded", "unreachable", "ok", "fail"} {
			r.ask(do{what})
		}
		r.Stop(cell)
		var said []string
		for _, p := range r.bus.All() {
			if h, ok := p.Message.(*actorv1.Health); ok && p.Subject == "gw.test.state.field.line.health" {
				said = append(said, fmt.Sprintf("%d %s %s", h.Life, h.State, h.Cause))
			}
		}
		want := []string{"1 starting ", "1 ok ", "1 degraded no answer", "1 unreachable no answer for 1m", "1 ok ", "1 failed test error", "2 starting ", "2 ok ", "2 stopped "}
		if !slices.Equal(said, want) {
			t.Errorf("said %q\nwant %q", said, want)
		}
	})
}

func TestWorked(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		cell := r.start(func(c *actors.Context, msg any) error {
			if _, ok := msg.(do); ok {
				c.OK()
				c.Reply(nil)
			}
			return nil
		})
		if _, ok := cell.Worked(); ok {
			t.Error("worked before it did")
		}
		pass(time.Second)
		r.ask(do{})
		pass(42 * time.Second)
		if ago, ok := cell.Worked(); !ok || ago < 42*time.Second-time.Microsecond || ago > 43*time.Second {
			t.Errorf("worked %s ago, %v", ago, ok)
		}
	})
}

func TestReconfigure(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var got []proto.Message
		k := scripted(func(c *actors.Context, msg any) error {
			if m, ok := msg.(actors.Reconfigured); ok {
				got = append(got, m.Config)
			}
			return nil
		})
		k.Live = true
		cell := r.Start(path, k, &structpb.Struct{})
		synctest.Wait()
		next := &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(1)}}
		cell.Reconfigure(next)
		synctest.Wait()
		if len(got) != 1 || !proto.Equal(got[0], next) || !proto.Equal(cell.Config(), next) || cell.Life() != 1 {
			t.Errorf("got %v in life %d", got, cell.Life())
		}
	})
}
