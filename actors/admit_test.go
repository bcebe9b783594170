package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
)

// Messages beyond the limit are refused and counted. Messages of the actor to itself still arrive,
// and no admitted message is lost.
func TestAdmission(t *testing.T) {
	for _, limit := range []int{0, 1, 10} {
		virtual(t, func(t *testing.T, r rig) {
			release := make(chan struct{})
			served, ticks := 0, 0
			k := scripted(func(c *actors.Context, msg any) error {
				switch m := msg.(type) {
				case actors.Started:
					c.Every(time.Second, tick{})
				case do:
					if m.what == "hang" {
						<-release
					}
					served++
					c.Reply(nil)
				case tick:
					ticks++
				}
				return nil
			})
			k.Limit = limit
			if limit == 0 {
				limit = 256
			}
			cell := r.Start(path, k, &structpb.Struct{})
			synctest.Wait()
			r.ask(do{"hang"})
			var refused, let int
			for range 1000 {
				if a := r.ask(do{}); a.err != nil {
					if bus.AsError(a.err).Code != bus.ResourceExhausted {
						t.Fatalf("refused with %v", a.err)
					}
					refused++
				} else {
					let++
				}
			}
			if let != limit || refused != 1000-limit || cell.Counters().Shed != uint64(refused) || cell.Counters().Waiting != uint32(limit) {
				t.Errorf("limit %d: %d let in, %d refused, counters %v", limit, let, refused, cell.Counters())
			}
			pass(3 * time.Second)
			before := ticks
			close(release)
			synctest.Wait()
			if served != limit+1 || ticks == before {
				t.Errorf("limit %d: %d served, %d ticks", limit, served, ticks-before)
			}
			if n := cell.Counters().Waiting; n != 0 {
				t.Errorf("%d wait at the end", n)
			}
		})
	}
}

// Post fails when the life it was made in is over, however that life ended.
func TestPost(t *testing.T) {
	for _, end := range []string{"fail", "stop", "fence", "full"} {
		t.Run(end, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				var post func(any) error
				heard := 0
				release := make(chan struct{})
				cell := r.start(func(c *actors.Context, msg any) error {
					switch m := msg.(type) {
					case actors.Started:
						if c.Life() == 1 {
							post = c.Post()
						}
					case do:
						if m.what == "hang" {
							<-release
							return nil
						}
						return errTest
					case result:
						heard++
					}
					return nil
				})
				if err := post(result{1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				want := bus.Aborted
				switch end {
				case "fail":
					r.ask(do{"fail"})
				case "stop":
					r.Stop(cell)
					r.Spawn(cell)
				case "fence":
					cell.Fence()
				case "full":
					want = bus.ResourceExhausted
					r.ask(do{"hang"})
					for range 256 {
						if err := post(result{1}); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				heard = 0
				if err := post(result{2}); err == nil || bus.AsError(err).Code != want {
					t.Errorf("posted: %v, want %s", err, want)
				}
				if end == "full" {
					close(release)
				}
				synctest.Wait()
				if end != "full" && heard > 0 {
					t.Error("a post to a life that is over was heard")
				}
			})
		})
	}
}

// A closed actor refuses with the given reason; a removed path is unknown.
func TestClosedAndRemoved(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		cell := r.start(func(c *actors.Context, msg any) error { c.Reply(result{1}); return nil })
		cell.Close("quarantined until noon")
		if a := r.ask(do{}); bus.AsError(a.err).Message != path+": quarantined until noon" {
			t.Errorf("%+v", a)
		}
		cell.Open()
		if a := r.ask(do{}); a.msg != (result{1}) {
			t.Errorf("%+v", a)
		}
		if _, err := r.System.NewCell(path, cell.Kind(), cell.Config()); err == nil {
			t.Error("two actors with one name")
		}
		cell.Remove()
		if a := r.ask(do{}); bus.AsError(a.err).Code != bus.NotFound {
			t.Errorf("%+v", a)
		}
		if r.System.Lookup(path) != nil || len(r.System.Paths()) != 0 {
			t.Error("still in the directory")
		}
	})
}

func TestDrills(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var injected []actors.Inject
		k := scripted(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				c.Reply(result{1})
			case actors.Inject:
				injected = append(injected, m)
				c.Reply(nil)
			}
			return nil
		})
		k.Faults = []string{"unplug", "plug"}
		cell := r.Start(path, k, &structpb.Struct{})
		synctest.Wait()
		drill := func(fault string, rate float64, d time.Duration) error {
			var got error
			told := false
			cell.Drill(fault, rate, d, func(err error) { got, told = err, true })
			synctest.Wait()
			if !told {
				t.Errorf("%s is not answered", fault)
			}
			return got
		}
		expect := func(what string, want bool, wait time.Duration) {
			t.Helper()
			a := r.ask(do{})
			pass(wait)
			if a.done != want {
				t.Errorf("%s: answered %v, want %v", what, a.done, want)
			}
		}
		if err := drill("kill", 1, 0); err != nil || cell.Life() != 2 || r.fault().Stack == nil {
			t.Errorf("kill: %v, life %d", err, cell.Life())
		}
		_ = drill("drop", 1, 0)
		expect("drop", false, time.Minute)
		cell.ClearDrill()
		expect("drop cleared", true, 0)
		_ = drill("delay", 1, time.Second)
		expect("delay", false, 900*time.Millisecond)
		pass(time.Second)
		cell.ClearDrill()
		_ = drill("hang", 1, time.Minute)
		expect("hang", false, 50*time.Second)
		pass(20 * time.Second)
		expect("hang over", true, 0)
		_ = drill("hang", 1, time.Hour)
		expect("hang", false, time.Minute)
		cell.ClearDrill()
		expect("hang cleared", true, 0)
		injected = nil
		if err := drill("unplug", 1, 0); err != nil {
			t.Error(err)
		}
		cell.ClearDrill()
		synctest.Wait()
		if len(injected) < 2 || injected[0].Fault != "unplug" || injected[len(injected)-1].Fault != "plug" {
			t.Errorf("injected %v", injected)
		}
		if err := drill("corrupt", 0.1, 0); err == nil || bus.AsError(err).Code != bus.InvalidArgument {
			t.Errorf("a fault it does not know: %v", err)
		}
		r.noFault()
	})
}
