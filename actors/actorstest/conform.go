package actorstest

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
)

// Conform checks that a kind follows the rules for all kinds: its declaration is complete, New does
// no I/O, its lives leave nothing behind, unknown and malformed messages do it no harm, and its
// README is correct. config should be one it can start with; where that is impossible, it may
// return an error. others are kinds that the README's example needs.
func Conform(t *testing.T, k actors.Kind, config proto.Message, others ...actors.Kind) {
	t.Helper()
	config = proto.Clone(config)
	schemas.Defaults(config)
	t.Run("declared", func(t *testing.T) { declared(t, &k, config) })
	t.Run("new does no I/O", func(t *testing.T) { newIsPure(t, &k, config) })
	t.Run("lives", func(t *testing.T) { lives(t, k, config) })
	t.Run("strangers and garbage", func(t *testing.T) { strangers(t, k, config) })
	t.Run("readme", func(t *testing.T) { readme(t, &k, others) })
}

func declared(t *testing.T, k *actors.Kind, config proto.Message) {
	if err := actors.CheckKind(k); err != nil {
		t.Fatal(err)
	}
	if got, want := config.ProtoReflect().Descriptor(), k.ConfigType().Descriptor(); got.FullName() != want.FullName() {
		t.Errorf("config is a %s, the kind takes a %s", got.FullName(), want.FullName())
	}
	for _, v := range schemas.Check(config) {
		t.Errorf("config: %v", v)
	}
	for _, s := range k.Services {
		if s.Methods().Len() == 0 {
			t.Errorf("service %s has no methods", s.FullName())
		}
	}
	for _, l := range k.Publishes {
		if l.Leaf != "*" && bus.CheckLeaf(l.Leaf) != nil || l.Message == nil {
			t.Errorf("publishes %s/%s %T: needs a leaf and a message", l.Class, l.Leaf, l.Message)
		}
		if l.Class != bus.Data && l.Class != bus.Event && l.Class != bus.State && l.Class != bus.Trace && l.Class != bus.Track {
			t.Errorf("publishes %s/%s: no such class", l.Class, l.Leaf)
		}
	}
}

// newIsPure builds many actors, because a goroutine or two of an earlier test may start meanwhile.
func newIsPure(t *testing.T, k *actors.Kind, config proto.Message) {
	const many = 200
	before := footprint(t)
	for range many {
		if k.New(proto.Clone(config)) == nil {
			t.Fatal("New builds nothing")
		}
	}
	after := footprint(t)
	if after.fds-before.fds >= many/2 || after.goroutines-before.goroutines >= many/2 {
		t.Fatalf("%d New leave something open: %+v before, %+v after", many, before, after)
	}
}

// lives starts and stops the actor several times. The first life is not counted, because it creates
// what stays for good. Several lives are needed to distinguish a goroutine that each life leaves
// behind from the one or two that the bus starts meanwhile.
func lives(t *testing.T, k actors.Kind, config proto.Message) {
	const many = 6
	r := New(t).Once()
	// Its reading position in the tracks stays for good, and may be created late in its first life.
	if slices.Contains(k.Offers(), "mqtt.v1.BridgeService") {
		if _, err := r.Bus.Reader(t.Context(), bus.ReaderConfig{Name: "group/under-test", Tracks: []string{"group/under-test"}}); err != nil {
			t.Fatal(err)
		}
	}
	cell := r.Start("group/under-test", k, proto.Clone(config))
	settle(r, cell)
	if slices.Contains(k.Offers(), "uplink.v1.UplinkService") { // its reading position stays for good
		r.Until("a place in the tracks", func() bool { return cell.State() != actors.Starting })
	}
	r.Stop(cell)
	before := footprint(t)
	for range many {
		life := cell.Life()
		r.Spawn(cell)
		r.Until("another life", func() bool { return cell.Life() > life })
		settle(r, cell)
		r.Stop(cell)
	}
	after := footprint(t)
	for deadline := time.Now().Add(Patience); after.fds > before.fds || after.goroutines-before.goroutines >= many/2; after = footprint(t) {
		if time.Now().After(deadline) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d lives leave something behind: %+v before, %+v after\n%s", many, before, after, all[:runtime.Stack(all, true)])
		}
		<-time.After(time.Millisecond)
	}
	if n := cell.Counters().Abandoned; n > 0 {
		t.Errorf("%d workers were left behind", n)
	}
	noPanic(t, r)
}

// settle waits until a life has handled a message after Started, or has ended.
func settle(r *Rig, cell *actors.Cell) {
	r.t.Helper()
	served := cell.Served()
	cell.Probe()
	r.Until("a mailbox that is served", func() bool { return cell.Served() > served || cell.State() == actors.Bad })
}

type stranger struct{ _ int }

func strangers(t *testing.T, k actors.Kind, config proto.Message) {
	r := New(t).Once()
	cell := r.Start("group/under-test", k, proto.Clone(config))
	settle(r, cell)
	answered := make(chan error, 1)
	r.System.Ask("group/under-test", stranger{}, func(_ any, err error) { answered <- err })
	if err := Next(t, answered); err == nil {
		t.Error("a message it cannot know is answered as if it could")
	}
	for _, s := range k.Services {
		for i := range s.Methods().Len() {
			garbage(t, r, cell, s.Methods().Get(i))
		}
	}
	if code := call(t, r, "NoSuchMethod", bus.JSON, "{}"); cell.State() != actors.Bad && code != bus.NotFound {
		t.Errorf("an unknown method is answered with %q, want %q", code, bus.NotFound)
	}
	if n := cell.Life(); n != 1 {
		t.Errorf("it is in life %d: garbage has ended one", n)
	}
	noPanic(t, r)
}

func garbage(t *testing.T, r *Rig, cell *actors.Cell, desc protoreflect.MethodDescriptor) {
	method := string(desc.Name())
	for _, g := range []struct{ typ, payload string }{
		{bus.JSON, `]`}, {bus.JSON, "\x00\xff"}, {bus.JSON, `{"no-such-field": 1}`}, {bus.JSON, `[1]`},
		{bus.Protobuf, "\xff\xff\xff\xff"}, {"text/plain", "hello"},
	} {
		if code := call(t, r, method, g.typ, g.payload); code != bus.InvalidArgument {
			t.Errorf("%s of %s %q is answered with %q, want %q", method, g.typ, g.payload, code, bus.InvalidArgument)
		}
	}
	failures := cell.Counters().Failures
	if desc.IsStreamingServer() {
		briefly(r, cell, method)
	} else {
		call(t, r, method, bus.JSON, "{}") // may succeed or fail, but must be answered
	}
	if n := cell.Counters().Failures; n > failures {
		t.Errorf("an empty %s is a failure of the actor; it should refuse", method)
	}
}

// briefly calls a method whose answers may never end, and goes away.
func briefly(r *Rig, cell *actors.Cell, method string) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = r.Bus.StreamRaw(ctx, bus.Subject(Gateway, bus.Cmd, "group/under-test", method), bus.JSON, []byte("{}"), func(bus.Msg) error { return nil })
	}()
	settle(r, cell)
	cancel()
	<-gone
}

// call returns the code of the error, or "" for none.
func call(t *testing.T, r *Rig, method, typ, payload string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_, _, err := r.Bus.CallRaw(ctx, bus.Subject(Gateway, bus.Cmd, "group/under-test", method), typ, []byte(payload))
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s of %q is not answered", method, payload)
	}
	if err == nil {
		return ""
	}
	return bus.AsError(err).Code
}

// noPanic fails the test if an actor has panicked. A returned error is allowed.
func noPanic(t *testing.T, r *Rig) {
	t.Helper()
	for {
		select {
		case f := <-r.Faults:
			if f.Stack != nil {
				t.Errorf("life %d: %v\n%s", f.Life, f, f.Stack)
			} else {
				t.Logf("life %d failed, which it may: %v", f.Life, f)
			}
		default:
			return
		}
	}
}

type traces struct{ fds, goroutines int }

func footprint(t *testing.T) traces {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return traces{len(fds), runtime.NumGoroutine()}
}
