package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
)

const (
	manyGroups = 100
	manyEach   = 100
	many       = manyGroups * manyEach
)

// sleeper is an actor that has started, is healthy and has nothing to do.
type sleeper struct{ lives *atomic.Int64 }

func (s sleeper) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		c.OK()
		s.lives.Add(1)
	case actors.Stopped:
		s.lives.Add(-1)
	}
	return nil
}

func sleepers(lives *atomic.Int64) actors.Kind {
	return actors.Define(actors.Kind{Name: "sleeper", Doc: "does nothing"}, func(*structpb.Struct) actors.Actor { return sleeper{lives} })
}

// idle is the figure "idle": the total cost of 10,000 actors that do nothing.
func idle(ctx context.Context, b *bench) error {
	var lives atomic.Int64
	w, err := newWorld(b.dir, sleepers(&lives))
	if err != nil {
		return err
	}
	defer w.bus.Close()
	held, routines := live(), runtime.NumGoroutine()

	begin := time.Now()
	if err := w.tree.Start(forest(manyGroups, manyEach, "sleeper")); err != nil {
		return err
	}
	if err := until("all started", 30*time.Second, func() bool { return lives.Load() == many }); err != nil {
		return err
	}
	started := time.Since(begin)
	if err := w.bus.Conn().Flush(ctx); err != nil { // until their messages are in the store
		return err
	}
	time.Sleep(time.Second) // until groups have summed up and stacks have shrunk
	each := (live() - held) / many
	snapshot("idle")
	extra := runtime.NumGoroutine() - routines
	b.say(row{Figure: "10,000 idle actors: memory of each, all in", Value: fmt.Sprintf("%d B", each), Limit: "≤ 3,000 B"}.below(float64(each), 3000))
	b.say(row{Figure: "10,000 idle actors: goroutines more", Value: fmt.Sprint(extra), Limit: "< 100"}.below(float64(extra), 99))

	cpu := cpuSelf()
	time.Sleep(5 * time.Second)
	share := 100 * (cpuSelf() - cpu).Seconds() / 5
	b.say(row{Figure: "10,000 idle actors: CPU, probes included", Value: fmt.Sprintf("%.2f %% of a core", share)})

	begin = time.Now()
	stop, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := w.tree.Stop(stop); err != nil {
		return err
	}
	stopped := time.Since(begin)
	b.say(row{Figure: "10,000 actors: start of all", Value: started.Round(time.Millisecond).String(), Limit: "< 2 s"}.below(started.Seconds(), 2))
	b.say(row{Figure: "10,000 actors: stop of all", Value: stopped.Round(time.Millisecond).String(), Limit: "< 2 s"}.below(stopped.Seconds(), 2))
	return nil
}
