package actors_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("gatewayd/actors.(*dispatcher).work"))
}

const path = "field/line"

// script is an actor that does what the test tells it.
type script func(c *actors.Context, msg any) error

func (f script) Receive(c *actors.Context, msg any) error {
	order()
	return f(c, msg)
}

var ordered sync.Mutex

// order puts the test's reads before the writes of an actor after virtual time has passed. The race
// detector does not know the order of virtual time.
func order() {
	ordered.Lock()
	defer ordered.Unlock()
}

// scripted is a kind whose every life runs f.
func scripted(f script) actors.Kind {
	return actors.Define(actors.Kind{Name: "scripted", Doc: "does as told"}, func(*structpb.Struct) actors.Actor { return f })
}

// rig is a rig in virtual time.
type rig struct {
	*actorstest.Rig
	t   *testing.T
	bus *actorstest.Recorder
}

// virtual runs a test in virtual time.
func virtual(t *testing.T, test func(t *testing.T, r rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { pass(time.Minute) }) // runs after all others, and lets everything under way end
		r, b := actorstest.NewVirtual(t)
		test(t, rig{r, t, b})
	})
}

func (r rig) start(f script) *actors.Cell {
	r.t.Helper()
	cell := r.Start(path, scripted(f), &structpb.Struct{})
	synctest.Wait()
	return cell
}

// answer is the outcome of an ask; it is empty until there is one.
type answer struct {
	done bool
	msg  any
	err  error
}

// ask asks the actor at path and waits until everything is idle.
func (r rig) ask(msg any) *answer {
	a := &answer{}
	r.System.Ask(path, msg, func(msg any, err error) {
		order()
		if a.done {
			r.t.Errorf("answered twice: %v %v, now %v %v", a.msg, a.err, msg, err)
		}
		*a = answer{true, msg, err}
	})
	synctest.Wait()
	return a
}

// fault returns the only fault.
func (r rig) fault() *actors.Fault {
	r.t.Helper()
	synctest.Wait()
	select {
	case f := <-r.Faults:
		return f
	default:
		r.t.Fatal("no fault")
		return nil
	}
}

func (r rig) noFault() {
	r.t.Helper()
	synctest.Wait()
	select {
	case f := <-r.Faults:
		r.t.Errorf("fault in life %d: %v\n%s", f.Life, f, f.Stack)
	default:
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	order()
	time.Sleep(d)
	synctest.Wait()
}

// Messages of the scripts.
type (
	do     struct{ what string }
	tick   struct{}
	result struct{ n int }
)

var errTest = errors.New("test error")

// closer notes when it is closed.
type closer struct{ closed chan struct{} }

func newCloser() *closer { return &closer{make(chan struct{})} }

func (c *closer) Close() error {
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	default:
		close(c.closed)
		return nil
	}
}

func (c *closer) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

type ctx = context.Context
