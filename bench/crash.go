package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/supervisor/config"
)

const (
	crashes     = 500
	crashRounds = 4
)

// glass panics when it gets a message, and reports the start of each life.
type glass struct{ up chan time.Time }

type touch struct{}

func (g glass) Receive(_ *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		g.up <- time.Now()
	case touch:
		panic("it broke")
	}
	return nil
}

// crash is the figure "crash": the time from a panic to Started of the next life, beside 10,000
// other actors, compared with protoactor alone.
func crash(ctx context.Context, b *bench) error {
	var lives atomic.Int64
	up := make(chan time.Time, 1)
	glassKind := actors.Define(actors.Kind{Name: "glass", Doc: "breaks when touched"}, func(*structpb.Struct) actors.Actor { return glass{up} })
	w, err := newWorld(b.dir, sleepers(&lives), glassKind)
	if err != nil {
		return err
	}
	defer w.close()
	cfg := forest(manyGroups, manyEach, "sleeper")
	shelf := group("shelf")
	shelf.Children = []*config.Node{{Path: "shelf/glass", Kind: "glass", Config: &structpb.Struct{}}}
	cfg.Root.Children = append(cfg.Root.Children, shelf)
	if err := w.tree.Start(cfg); err != nil {
		return err
	}
	<-up
	if err := until("all started", 30*time.Second, func() bool { return lives.Load() == many }); err != nil {
		return err
	}
	if err := w.bus.Conn().Flush(ctx); err != nil {
		return err
	}
	cell := w.sys.Lookup("shelf/glass")
	ours := func() { w.sys.Runtime().Root.Send(cell.PID(), actors.NewRequest(touch{}, nil)) }
	bare, bareUp := bareGlass()

	var mine, theirs []time.Duration
	for range crashRounds {
		mine = append(mine, breakings(ours, up)...)
		theirs = append(theirs, breakings(bare, bareUp)...)
	}
	p99, peer := quantile(mine, 0.99), quantile(theirs, 0.99)
	b.say(row{
		Figure: "panic to the next life's Started: p99 (p50)",
		Value:  fmt.Sprintf("%s (%s)", micros(p99), micros(median(mine))),
		Peer:   fmt.Sprintf("protoactor %s (%s)", micros(peer), micros(median(theirs))),
		Ratio:  p99.Seconds() / peer.Seconds(), Limit: "p99 ≤ 1 ms",
	}.below(p99.Seconds(), 1e-3))
	return nil
}

// breakings returns how long each of many crashes takes to heal.
func breakings(hit func(), up <-chan time.Time) []time.Duration {
	var all []time.Duration
	for range crashes {
		begin := time.Now()
		hit()
		all = append(all, (<-up).Sub(begin))
		time.Sleep(time.Millisecond) // lets the rest of the restart finish, so that crashes do not overlap
	}
	return all
}

// bareGlass is the same with protoactor's own strategy and 10,000 other idle actors.
func bareGlass() (hit func(), up <-chan time.Time) {
	born := make(chan time.Time, 1)
	sys := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	always := actor.NewOneForOneStrategy(1<<30, time.Hour, func(any) actor.Directive { return actor.RestartDirective })
	pid := make(chan *actor.PID, 1)
	sys.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); ok {
			for range many {
				c.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
			}
			pid <- c.Spawn(actor.PropsFromProducer(func() actor.Actor { return bareGlassActor{born} }))
		}
	}, actor.WithSupervisor(always)))
	glass := <-pid
	<-born
	return func() { sys.Root.Send(glass, touch{}) }, born
}

type bareGlassActor struct{ up chan time.Time }

func (g bareGlassActor) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		g.up <- time.Now()
	case touch:
		panic("it broke")
	}
}

func micros(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d.Nanoseconds())/1e3) }
