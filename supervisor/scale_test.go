package supervisor_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// idler is a healthy actor with nothing to do.
type idler struct{}

func (idler) Receive(c *actors.Context, msg any) error {
	if _, ok := msg.(actors.Started); ok {
		c.OK()
	}
	return nil
}

// TestProbingIdlersIsCheap: supervising ten thousand idle actors takes well under a twentieth of
// one core, and stopping them does not take minutes.
func TestProbingIdlersIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, span = 10_000, 5 * time.Minute
		w := &world{t: t, bus: &actorstest.Recorder{}}
		w.sys = actors.NewSystem("test", w.bus, testLog)
		idle := actors.Kind{Name: "idler", Doc: "has nothing to do"}
		w.tree = supervisor.New(supervisor.Options{System: w.sys, Kinds: []actors.Kind{
			actors.Define(idle, func(*structpb.Struct) actors.Actor { return idler{} }),
		}})
		root, settings := &gatewayv1.Gateway{Gateway: "test"}, &gatewayv1.Group{Silence: dur(time.Hour)}
		schemas.Defaults(root)
		schemas.Defaults(settings)
		g := &config.Node{Path: "f", Config: settings}
		for i := range n {
			g.Children = append(g.Children, &config.Node{Path: fmt.Sprintf("f/i%d", i), Kind: "idler", Config: &structpb.Struct{}})
		}
		w.start = func() {
			if err := w.tree.Start(&config.Tree{Root: &config.Node{Config: root, Children: []*config.Node{g}}}); err != nil {
				t.Fatal(err)
			}
		}
		w.run(time.Second)
		before := busy(t)
		w.run(span)
		used := busy(t) - before
		t.Logf("%s of CPU in %s for %d idlers", used, span, n)
		if used > span/20 {
			t.Errorf("%s of CPU in %s for %d idlers", used, span, n)
		}
		if s := w.sys.Lookup("f").State(); s != actors.OK {
			t.Errorf("the group is %s", s)
		}
		before = busy(t)
		w.stop()
		if used := busy(t) - before; used > 20*time.Second {
			t.Errorf("stopping took %s of CPU", used)
		}
	})
}

// busy returns the CPU time of this process so far; the clock is virtual.
func busy(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
