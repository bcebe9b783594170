package supervisor

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/bus"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// Bus is what the bus's own supervision needs. *bus.Bus is one.
type Bus interface {
	Canary(ctx context.Context) error
	Restart(ctx context.Context) error
	Report() bus.Report
}

const (
	canaryTime     = 5 * time.Second
	canaryTolerate = 3 // canaries that may die in a row
)

// BusKind is kind "bus": the bus under the same law as everything else. A canary
// that is written and read proves that it works; its power cycle is a restart
// of the embedded server inside the process, which repairs a store that hit a
// full disk.
func BusKind(b Bus, running *gatewayv1.Bus) actors.Kind {
	return actors.Define(actors.Kind{
		Name: "bus", Doc: "the embedded NATS server, proven by a canary that is written and read back",
		Publishes: []actors.Leaf{{Class: bus.Event, Leaf: "loss", Message: &gatewayv1.BusLoss{}}},
		Live:      true,
		Power: func(proto.Message) *actors.Power {
			return &actors.Power{On: b.Restart}
		},
	}, func(cfg *gatewayv1.Bus) actors.Actor { return &busKeeper{bus: b, cfg: cfg, running: running} })
}

type busKeeper struct {
	bus     Bus
	cfg     *gatewayv1.Bus
	running *gatewayv1.Bus // what the server was started with
	misses  int
	timer   *actors.Timer
}

type (
	canaryDue  struct{}
	canarySang struct{ took time.Duration }
)

func (k *busKeeper) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		k.tellLosses(c)
		k.timer = c.Every(k.cfg.Canary.AsDuration(), canaryDue{})
	case canaryDue:
		c.Do(canaryTime, func(ctx context.Context) (any, error) {
			begin := time.Now()
			err := k.bus.Canary(ctx)
			return canarySang{time.Since(begin)}, err
		})
	case canarySang:
		k.misses = 0
		c.OK()
		if want, have := restartless(k.cfg), restartless(k.running); !proto.Equal(want, have) {
			c.Degraded("the changed settings take effect when the daemon restarts")
		}
	case actors.Failed:
		k.misses++
		if k.misses >= canaryTolerate {
			return actors.Wedged(fmt.Errorf("the canary died %d times: %w", k.misses, m.Err))
		}
		c.Degraded(m.Err.Error())
	case actors.Reconfigured:
		k.cfg = m.Config.(*gatewayv1.Bus)
		k.timer.Stop()
		k.timer = c.Every(k.cfg.Canary.AsDuration(), canaryDue{})
	}
	return nil
}

// restartless is a config without what can change while the bus runs.
func restartless(b *gatewayv1.Bus) *gatewayv1.Bus {
	b = proto.CloneOf(b)
	b.Canary = nil
	return b
}

func (k *busKeeper) tellLosses(c *actors.Context) {
	r := k.bus.Report()
	for _, l := range r.Losses {
		c.Event("loss", &gatewayv1.BusLoss{Stream: l.Stream, From: l.FromSeq, To: l.ToSeq, Reason: l.Reason})
	}
}
