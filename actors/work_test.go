package actors_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	"gatewayd/bus"
)

// worker starts fn as a worker on do and collects the outcomes.
func worker(deadline time.Duration, fn func(ctx) (any, error), got *[]any) script {
	return func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case do:
			c.Do(deadline, fn)
		case result, actors.Failed:
			*got = append(*got, m)
			c.Reply(m)
		}
		return nil
	}
}

func TestWorkerReturns(t *testing.T) {
	for name, tt := range map[string]struct {
		fn   func(ctx) (any, error)
		want string // of Failed; "" for a result
		code string
	}{
		"result":       {func(ctx) (any, error) { return result{7}, nil }, "", ""},
		"slow result":  {func(ctx) (any, error) { time.Sleep(900 * time.Millisecond); return result{7}, nil }, "", ""},
		"error":        {func(ctx) (any, error) { return nil, errTest }, "test error", bus.Internal},
		"panic":        {func(ctx) (any, error) { panic("oops") }, "panic in a worker: oops", bus.Internal},
		"obeys":        {func(x ctx) (any, error) { <-x.Done(); return nil, x.Err() }, "not finished within 1s", bus.DeadlineExceeded},
		"late, obeys":  {func(x ctx) (any, error) { <-x.Done(); time.Sleep(500 * time.Millisecond); return nil, errTest }, "not finished within 1s", bus.DeadlineExceeded},
		"late success": {func(ctx) (any, error) { time.Sleep(1500 * time.Millisecond); return result{7}, nil }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r rig) {
				var got []any
				cell := r.start(worker(time.Second, tt.fn, &got))
				a := r.ask(do{})
				pass(5 * time.Second)
				if len(got) != 1 {
					t.Fatalf("got %v", got)
				}
				f, failed := got[0].(actors.Failed)
				if failed != (tt.want != "") || failed && (!strings.Contains(f.Err.Error(), tt.want) || bus.AsError(f.Err).Code != tt.code) {
					t.Errorf("got %v", got[0])
				}
				if !a.done || a.err != nil {
					t.Errorf("the request was lost on the way: %+v", a)
				}
				if cell.Life() != 1 || r.System.Workers() != 0 {
					t.Errorf("life %d, %d workers", cell.Life(), r.System.Workers())
				}
				r.noFault()
			})
		})
	}
}

// At the deadline the context ends; a second later what the life owns is closed; another second
// later the worker is left behind, and the life fails at the next level.
func TestStuckWorker(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var got []any
		owned, release := newCloser(), make(chan struct{})
		var canceled time.Duration
		begin := time.Now()
		cell := r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				c.Own(owned)
				c.Do(3*time.Second, func(x ctx) (any, error) {
					<-x.Done()
					canceled = time.Since(begin)
					<-release
					return result{7}, nil
				})
			case result, actors.Failed:
				got = append(got, m)
			}
			return nil
		})
		a := r.ask(do{})
		pass(3900 * time.Millisecond)
		if canceled != 3*time.Second || owned.isClosed() {
			t.Errorf("cancelled after %s, closed %v", canceled, owned.isClosed())
		}
		pass(200 * time.Millisecond)
		if !owned.isClosed() || a.done {
			t.Errorf("closed %v, told %v", owned.isClosed(), a.done)
		}
		r.noFault()
		pass(time.Second)
		f := r.fault()
		if f.Level != actors.LevelCycle || !strings.Contains(f.Error(), "worker did not return 2s after its deadline of 3s") {
			t.Errorf("level %d: %v", f.Level, f)
		}
		if !a.done || a.err == nil {
			t.Errorf("who asked is told %+v", a)
		}
		if n := cell.Counters().Abandoned; n != 1 || r.System.Workers() != 1 || cell.Life() != 2 {
			t.Errorf("%d abandoned, %d workers, life %d", n, r.System.Workers(), cell.Life())
		}
		close(release)
		pass(time.Minute)
		if len(got) > 0 || r.System.Workers() != 0 {
			t.Errorf("after it came back: got %v, %d workers", got, r.System.Workers())
		}
	})
}

// A worker blocked in a read of something the life owns returns when that is closed, and does no
// harm.
func TestClosingHelps(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		owned := newCloser()
		var got []any
		cell := r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				c.Own(owned)
				c.Do(time.Second, func(ctx) (any, error) { <-owned.closed; return nil, errTest })
			case actors.Failed:
				got = append(got, m)
				c.Reply(m)
			}
			return nil
		})
		r.ask(do{})
		pass(10 * time.Second)
		if len(got) != 1 || cell.Counters().Abandoned != 0 || cell.Life() != 1 {
			t.Errorf("got %v, %+v", got, cell.Counters())
		}
	})
}

// The result of a worker of an old life is dropped; if it can be closed, it is closed.
func TestLateResultIsRefused(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		opened := newCloser()
		var lives []uint32
		cell := r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case do:
				if m.what == "fail" {
					return errTest
				}
				c.Do(time.Minute, func(ctx) (any, error) { time.Sleep(time.Second); return opened, nil })
				c.Reply(nil)
			case *closer:
				lives = append(lives, c.Life())
			}
			return nil
		})
		r.ask(do{"open"})
		r.ask(do{"fail"})
		pass(10 * time.Second)
		if cell.Life() != 2 || len(lives) > 0 || !opened.isClosed() {
			t.Errorf("life %d, delivered to %v, closed %v", cell.Life(), lives, opened.isClosed())
		}
	})
}

// A result that can be closed belongs to the life, which may close it earlier.
func TestResultIsOwned(t *testing.T) {
	for _, early := range []bool{false, true} {
		virtual(t, func(t *testing.T, r rig) {
			opened := newCloser()
			cell := r.start(func(c *actors.Context, msg any) error {
				switch m := msg.(type) {
				case do:
					c.Do(time.Minute, func(ctx) (any, error) { return opened, nil })
				case *closer:
					if early {
						c.Close(m)
					}
					c.Reply(nil)
				}
				return nil
			})
			r.ask(do{"open"})
			if opened.isClosed() != early {
				t.Errorf("closed %v, want %v", opened.isClosed(), early)
			}
			r.Stop(cell)
			if !opened.isClosed() {
				t.Error("open after the end")
			}
		})
	}
}

// A result beside an error is not closed: it is often a nil pointer.
func TestResultOfAFailureIsNotOwned(t *testing.T) {
	for _, left := range []bool{false, true} {
		virtual(t, func(t *testing.T, r rig) {
			cell := r.start(func(c *actors.Context, msg any) error {
				if _, ok := msg.(actors.Started); ok {
					c.Do(time.Hour, func(x ctx) (any, error) {
						if left {
							<-x.Done()
						}
						return (*closer)(nil), errTest
					})
				}
				return nil
			})
			pass(time.Second)
			r.Stop(cell)
			synctest.Wait()
		})
	}
}

// The context of a worker ends as soon as its life ends, not at its deadline.
func TestEndCancelsWorkers(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		begin := time.Now()
		var took time.Duration
		cell := r.start(func(c *actors.Context, msg any) error {
			if _, ok := msg.(actors.Started); ok {
				c.Do(time.Hour, func(x ctx) (any, error) {
					<-x.Done()
					took = time.Since(begin)
					return nil, context.Cause(x)
				})
			}
			return nil
		})
		pass(time.Second)
		r.Stop(cell)
		synctest.Wait()
		if took > 2*time.Second || r.System.Workers() != 0 {
			t.Errorf("cancelled after %s, %d workers", took, r.System.Workers())
		}
	})
}
