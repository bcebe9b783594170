package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
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
	news := &told{losses: map[bus.Loss]bool{}}
	return actors.Define(actors.Kind{
		Name: "bus", Doc: "the embedded NATS server, proven by a canary that is written and read back",
		Publishes: []actors.Leaf{{Class: bus.Event, Leaf: "loss", Message: &gatewayv1.BusLoss{}}},
		Live:      true,
		Check: func(config proto.Message) []schemas.Violation {
			if cfg := config.(*gatewayv1.Bus); cfg.Listen != "" && schemas.Exposed(cfg.Listen) && !cfg.Insecure {
				return schemas.Wrong("listen", fmt.Errorf("%q is outside loopback, and what travels there is not encrypted: "+
					"listen on 127.0.0.1 or set insecure = true", cfg.Listen))
			}
			return nil
		},
		Power: func(proto.Message) *actors.Power {
			return &actors.Power{On: func(ctx context.Context) error {
				news.forget() // what it finds when it starts again is news
				return b.Restart(ctx)
			}}
		},
	}, func(cfg *gatewayv1.Bus) actors.Actor {
		return &busKeeper{bus: b, cfg: cfg, running: running, told: news}
	})
}

type busKeeper struct {
	bus     Bus
	cfg     *gatewayv1.Bus
	running *gatewayv1.Bus // what the server was started with
	told    *told
	misses  int
	singing bool // a canary is out
	timer   *actors.Timer
}

// told is which losses of this start of the bus have been told, by whatever
// life of the keeper.
type told struct {
	mu     sync.Mutex
	losses map[bus.Loss]bool
}

// first reports whether l is news.
func (t *told) first(l bus.Loss) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.losses[l]
	t.losses[l] = true
	return !known
}

type (
	canaryDue  struct{}
	canarySang struct{}
)

func (t *told) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.losses)
}

func (k *busKeeper) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		k.tellLosses(c)
		k.timer = c.Every(k.cfg.Canary.AsDuration(), canaryDue{})
	case canaryDue:
		if k.singing {
			c.Missed()
			return nil
		}
		k.singing = true
		c.Do(canaryTime, func(ctx context.Context) (any, error) {
			return canarySang{}, k.bus.Canary(ctx)
		})
	case canarySang:
		k.misses, k.singing = 0, false
		if proto.Equal(restartless(k.cfg), restartless(k.running)) {
			c.OK()
		} else {
			c.Worked()
			c.Degraded("the changed settings take effect when the daemon restarts")
		}
	case actors.Failed:
		k.singing = false
		k.misses++
		if k.misses >= canaryTolerate && !errors.Is(m.Err, bus.ErrDisk) { // with no room a cycle is due when there is some
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

// restartless is the part of a config that counts only when the bus starts.
func restartless(b *gatewayv1.Bus) *gatewayv1.Bus {
	b = proto.CloneOf(b)
	b.Canary = nil
	return b
}

func (k *busKeeper) tellLosses(c *actors.Context) {
	for _, l := range k.bus.Report().Losses {
		if !k.told.first(l) {
			continue
		}
		c.Event("loss", &gatewayv1.BusLoss{Stream: l.Stream, From: l.FromSeq, To: l.ToSeq, Reason: l.Reason})
	}
}
