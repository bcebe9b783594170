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
	accessv1 "gatewayd/schemas/access/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// Bus is what the supervision of the bus needs. *bus.Bus implements it.
type Bus interface {
	Canary(ctx context.Context) error
	Restart(ctx context.Context) error
	Report() bus.Report
}

// BusDoor admits clients to the bus's listener by a policy that an actor keeps.
type BusDoor interface {
	// Open starts to ask for the policy.
	Open(c *actors.Context)
	// Receive handles messages for the door; it returns false for any other msg.
	Receive(c *actors.Context, msg any) bool
	// Ready reports whether any client can be admitted.
	Ready() bool
}

const (
	canaryTime     = 5 * time.Second
	canaryTolerate = 3 // consecutive failures
)

// BusKind returns kind "bus", which supervises the bus like any other actor. A canary message that
// is written and read back proves that the bus works. Its power cycle restarts the embedded server
// inside the process, which repairs a store after a full disk. door is nil if clients authenticate
// with the gateway's own keys only.
func BusKind(b Bus, running *gatewayv1.Bus, door BusDoor) actors.Kind {
	news := &told{losses: map[bus.Loss]bool{}}
	return actors.Define(actors.Kind{
		Name: "bus", Doc: "The embedded NATS server, proven by a canary that is written and read back.",
		Publishes: []actors.Leaf{
			{Class: bus.Event, Leaf: "loss", Message: &gatewayv1.BusLoss{}},
			{Class: bus.Event, Leaf: "insecure", Message: &gatewayv1.BusInsecure{}},
			{Class: bus.Event, Leaf: "cut", Message: &gatewayv1.BusCut{}},
			{Class: bus.Event, Leaf: "refused", Message: &accessv1.Refused{}},
			{Class: bus.State, Leaf: bus.Standing, Message: &gatewayv1.Standing{}},
		},
		Live:  true,
		Check: func(config proto.Message) []schemas.Violation { return checkBus(config.(*gatewayv1.Bus)) },
		Power: func(proto.Message) *actors.Power {
			return &actors.Power{On: func(ctx context.Context) error {
				news.forget() // losses found at the next start are reported again
				return b.Restart(ctx)
			}}
		},
	}, func(cfg *gatewayv1.Bus) actors.Actor {
		return &busKeeper{bus: b, cfg: cfg, running: running, told: news, door: door}
	})
}

func checkBus(cfg *gatewayv1.Bus) []schemas.Violation {
	if lack := exposed(cfg); lack != "" && !cfg.Insecure {
		return schemas.Wrong("listen", fmt.Errorf("%q is outside loopback, and %s: set tls, listen on 127.0.0.1, or set insecure = true", cfg.Listen, lack))
	}
	if cfg.Access != "" && anonymous(cfg) {
		return schemas.Wrong("anonymous", fmt.Errorf("not allowed with access: %s decides what clients without credentials may use", cfg.Access))
	}
	return nil
}

// exposed returns what a listener that other machines can reach lacks, or "".
func exposed(cfg *gatewayv1.Bus) string {
	switch {
	case cfg.Listen == "" || !schemas.Exposed(cfg.Listen):
		return ""
	case cfg.Tls == nil && anonymous(cfg):
		return "clients are neither encrypted nor authenticated"
	case cfg.Tls == nil:
		return "clients are not encrypted"
	case anonymous(cfg):
		return "clients are not authenticated"
	}
	return ""
}

func anonymous(cfg *gatewayv1.Bus) bool { return cfg.Anonymous != "" && cfg.Anonymous != "none" }

type busKeeper struct {
	bus     Bus
	cfg     *gatewayv1.Bus
	running *gatewayv1.Bus // what the server was started with
	told    *told
	door    BusDoor
	misses  int
	pending bool // a canary is running
	timer   *actors.Timer
}

// told records which losses of this start of the bus have been published, across the lives of the
// keeper.
type told struct {
	mu     sync.Mutex
	losses map[bus.Loss]bool
}

// first reports whether l has not been published yet.
func (t *told) first(l bus.Loss) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.losses[l]
	t.losses[l] = true
	return !known
}

type (
	canaryDue  struct{}
	canaryDone struct{}
)

func (t *told) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.losses)
}

func (k *busKeeper) Receive(c *actors.Context, msg any) error {
	if k.door != nil && k.door.Receive(c, msg) {
		return nil
	}
	switch m := msg.(type) {
	case actors.Started:
		k.begin(c)
	case canaryDue:
		if k.pending {
			c.Missed()
			return nil
		}
		k.pending = true
		c.Do(canaryTime, func(ctx context.Context) (any, error) {
			return canaryDone{}, k.bus.Canary(ctx)
		})
	case canaryDone:
		k.misses, k.pending = 0, false
		k.proven(c)
	case actors.Failed:
		k.pending = false
		k.misses++
		if k.misses >= canaryTolerate && !errors.Is(m.Err, bus.ErrDisk) { // on a full disk a cycle is useless until there is space
			return actors.Wedged(fmt.Errorf("%d canary messages failed: %w", k.misses, m.Err))
		}
		c.Degraded(m.Err.Error())
	case actors.Reconfigured:
		k.cfg = m.Config.(*gatewayv1.Bus)
		k.timer.Stop()
		k.timer = c.Every(k.cfg.Canary.AsDuration(), canaryDue{})
	}
	return nil
}

func (k *busKeeper) begin(c *actors.Context) {
	k.tellLosses(c)
	if lack := exposed(k.running); lack != "" {
		c.Log().Warn("insecure: "+lack, "listen", k.running.Listen)
		c.Warn("insecure: " + lack)
		c.Event("insecure", &gatewayv1.BusInsecure{Listen: k.running.Listen, Warning: lack})
	}
	if k.door != nil {
		k.door.Open(c)
	}
	k.timer = c.Every(k.cfg.Canary.AsDuration(), canaryDue{})
}

// proven evaluates a successful canary.
func (k *busKeeper) proven(c *actors.Context) {
	switch {
	case !proto.Equal(restartless(k.cfg), restartless(k.running)):
		c.Worked()
		c.Degraded("the changed settings take effect when the daemon restarts")
	case k.door != nil && !k.door.Ready():
		c.Worked() // the door reports what is wrong
	default:
		c.OK()
	}
}

// restartless returns the part of a config that takes effect only when the bus starts.
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
