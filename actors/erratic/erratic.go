// Package erratic is an actor kind that misbehaves on command, to show and test that other actors
// are not affected. It has no other use.
package erratic

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

// Kind is the actor kind erratic.
var Kind = actors.Define(actors.Kind{
	Name:      "erratic",
	Doc:       "Misbehaves on command, to show that other actors are not affected.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	Publishes: []actors.Leaf{{Class: "data", Leaf: "ticks", Message: &erraticv1.Tick{}}},
}, func(cfg *erraticv1.Erratic) actors.Actor {
	return &erratic{cfg: cfg, how: cfg.How, long: cfg.Duration.AsDuration()}
})

type erratic struct {
	cfg    *erraticv1.Erratic
	how    string        // what to do at the next occasion; "": behave
	long   time.Duration // duration, for what takes time
	number uint64        // ticks of this life
}

type (
	tick    struct{} // behave, or misbehave as told
	flooded struct{} // one message of a flood
	ended   struct{} // a worker has returned
)

var errTold = errors.New("told to fail")

func (e *erratic) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return e.started(c)
	case tick:
		return e.tick(c)
	case flooded:
		e.publish(c)
	case *erraticv1.MisbehaveRequest:
		c.Reply(&erraticv1.MisbehaveResponse{})
		e.how, e.long = m.How, m.Duration.AsDuration()
		if e.how != "slow" {
			return e.misbehave(c)
		}
	case *erraticv1.CountRequest:
		c.Stream(&counting{to: m.To})
	case actors.Stopped:
		e.stopped()
	case actors.Failed:
		return m.Err
	}
	return nil
}

func (e *erratic) started(c *actors.Context) error {
	switch e.how {
	case "error-in-started":
		return errTold
	case "panic-in-started":
		panic("told to panic in Started")
	case "hang-in-started":
		block(e.long)
	}
	c.Every(e.cfg.Every.AsDuration(), tick{})
	return nil
}

// tick does the work of one tick, or misbehaves as told.
func (e *erratic) tick(c *actors.Context) error {
	if err := e.misbehave(c); err != nil {
		return err
	}
	e.publish(c)
	c.OK()
	return nil
}

func (e *erratic) publish(c *actors.Context) {
	e.number++
	c.Publish("ticks", &erraticv1.Tick{Number: e.number})
}

func (e *erratic) stopped() {
	switch e.how {
	case "panic-in-stopped":
		panic("told to panic in Stopped")
	case "hang-in-stopped":
		block(e.long)
	}
}

// counting is a stream of the numbers from 1 to a limit.
type counting struct{ at, to uint32 }

// Next implements actors.Source.
func (n *counting) Next(context.Context) (proto.Message, error) {
	if n.at == n.to {
		return nil, io.EOF
	}
	n.at++
	return &erraticv1.CountResponse{Number: n.at}, nil
}

// Close implements actors.Source.
func (n *counting) Close() error { return nil }
