package actors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

// numbers is a Source that gives some numbers, then ends or blocks.
type numbers struct {
	to, at uint32
	waits  bool
	closed chan uint32
}

func (n *numbers) Next(ctx context.Context) (proto.Message, error) {
	if n.at == n.to && n.waits {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if n.at == n.to {
		return nil, io.EOF
	}
	n.at++
	return &erraticv1.CountResponse{Number: n.at}, nil
}

func (n *numbers) Close() error { n.closed <- n.to; return nil }

func TestStreamFromASource(t *testing.T) {
	r := actorstest.New(t)
	closed, strange := make(chan uint32, 1), make(chan any, 1)
	cell := r.Start(path, serving(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case *erraticv1.CountRequest:
			c.Stream(&numbers{to: m.To, waits: m.To > 10, closed: closed})
		case actors.Started, actors.Stopped:
		default:
			strange <- msg
		}
		return nil
	}), &erraticv1.Erratic{})
	enough := errors.New("enough")
	for _, c := range []struct {
		to, end uint32
		last    func() error
		want    func(err error) bool
	}{
		{10, 10, func() error { return nil }, func(err error) bool { return err == nil }},
		{11, 11, func() error { return enough }, func(err error) bool { return errors.Is(err, enough) }},
		{12, 12, func() error { go r.Stop(cell); return nil }, func(err error) bool { return bus.AsError(err).Code == bus.Unavailable }},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), actorstest.Patience)
		n := uint32(0)
		err := r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Count"), &erraticv1.CountRequest{To: c.to}, func(bus.Msg) error {
			if n++; n == c.end {
				return c.last()
			}
			return nil
		})
		cancel()
		if n != c.end || !c.want(err) {
			t.Errorf("to %d: %d answers, %v", c.to, n, err)
		}
		if got := actorstest.Next(t, closed); got != c.to {
			t.Errorf("closed %d, want %d", got, c.to)
		}
	}
	select {
	case m := <-strange:
		t.Errorf("the actor received %T", m)
	default:
	}
}

func TestShowWhileSomebodyListens(t *testing.T) {
	r := actorstest.New(t)
	closed, shown := make(chan uint32, 1), make(chan actors.TraceEnded, 1)
	heard := make(chan bool, 1)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case *erraticv1.MisbehaveRequest:
			heard <- c.HasSubscribers("frames")
			c.PublishTrace("frames", &numbers{to: 3, waits: true, closed: closed})
			c.Reply(&erraticv1.MisbehaveResponse{})
		case actors.TraceEnded:
			shown <- m
		}
		return nil
	}), &erraticv1.Erratic{})
	show := func(want bool) {
		t.Helper()
		if err := misbehave(r, path, "leak"); err != nil {
			t.Fatal(err)
		}
		if got := actorstest.Next(t, heard); got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	}
	show(false)
	actorstest.Next(t, shown)
	actorstest.Next(t, closed)
	got := make(chan string, 10)
	stop, err := r.Bus.Subscribe("gw.*.trace.field.>", func(m bus.Msg) { got <- m.Subject + strings.ReplaceAll(string(m.Data), " ", "") })
	if err != nil {
		t.Fatal(err)
	}
	show(true)
	for i := range 3 {
		want := fmt.Sprintf(`gw.test.trace.field.line.frames{"number":%d}`, i+1)
		if s := actorstest.Next(t, got); s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
	stop()
	if s := actorstest.Next(t, shown); s.Leaf != "frames" {
		t.Error(s)
	}
	actorstest.Next(t, closed)
}
