package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
	drillv1 "gatewayd/schemas/drill/v1"
	"gatewayd/supervisor/config"
)

// story shows how the gateway heals itself: each step does harm and waits for what must happen
// then.
type story struct {
	d *demo
	n *news
	p terminal.Paint

	able []string // the actors that can be healthy
}

// The actors that the story harms.
const (
	lineActor  = "field/rs485-1/line"
	meterActor = "field/rs485-1/meter-1"
	mixerActor = "field/plc/mixer"
	modemActor = "radio/modem"
)

// excused are the actors that are never healthy: the flaky and the silent meter.
var excused = [...]string{"field/rs485-1/meter-3", "field/rs485-1/meter-4"}

// storyTime is the time limit of the whole story.
const storyTime = 60 * time.Second

func newStory(d *demo) *story {
	return &story{d: d, n: newNews(d.units()), p: terminal.Painter(d.out)}
}

// tell tells the whole story. It returns an error for the step that did not happen.
func (s *story) tell(outer context.Context) error {
	cfg, problems := s.d.kinds.Load(s.d.file)
	if err := files.Refused(problems); err != nil {
		return err
	}
	cfg.Walk(func(n *config.Node) {
		if n.Kind != "" && !slices.Contains(excused[:], n.Path) {
			s.able = append(s.able, n.Path)
		}
	})
	ctx, cancel := context.WithTimeout(outer, storyTime)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- s.d.keepRunning(ctx, s.n)
		cancel() // without a gateway there is nothing to wait for
	}()
	begin := time.Now()
	err := s.steps(ctx)
	if err == nil {
		fmt.Fprintf(s.d.out, "\n%s\n", s.p.In(terminal.Green, fmt.Sprintf("Everything is healthy again after %s; the silent meter did not affect the others.", time.Since(begin).Round(time.Second))))
	}
	cancel()
	if stopped := <-ended; stopped != nil {
		return stopped
	}
	if err != nil && outer.Err() != nil {
		return errors.New("interrupted before the end of the drill")
	}
	return err
}

func (s *story) steps(ctx context.Context) error {
	for i, step := range []struct {
		title string
		do    func(ctx context.Context) error
	}{
		{"The gateway starts with a PLC and four meters: one is slow, one flaky, one silent.", s.starts},
		{"A bug kills an actor. Its supervisor restarts it; no other actor is affected.", s.kills},
		{"The driver of the serial line hangs. A restart does not help, so the port is power-cycled.", s.hangs},
		{"The serial adapter is unplugged. This is not a failure: the meters are stale and report why.", s.unplugs},
		{"The adapter is plugged in again. The readings resume by themselves.", s.plugs},
		{"The modem fails for good: restart, escalation, full restart, and finally the watchdog.", s.starves},
		{"The watchdog has restarted the gateway, which reports what happened.", s.restarts},
	} {
		fmt.Fprintf(s.d.out, "\n%s\n", s.p.In(terminal.Bold, fmt.Sprintf("%d. %s", i+1, step.title)))
		telling, told := context.WithCancel(ctx)
		var teller sync.WaitGroup
		teller.Go(func() { s.n.print(telling, s.line) })
		begin := time.Now()
		err := step.do(ctx)
		took := time.Since(begin)
		told()
		teller.Wait()
		for _, l := range s.n.fresh(time.Now()) {
			s.line(l)
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		fmt.Fprintf(s.d.out, "   %s\n", s.p.In(terminal.Green, fmt.Sprintf("✓ after %s", took.Round(time.Millisecond))))
	}
	return nil
}

func (s *story) line(l look.NewsLine) { fmt.Fprintln(s.d.out, "   "+l.Text(s.p)) }

func (s *story) starts(ctx context.Context) error { return s.allWell(ctx) }

func (s *story) kills(ctx context.Context) error {
	s.mark()
	if err := s.inject(ctx, "kill", mixerActor, 0); err != nil {
		return err
	}
	if err := s.healed(ctx, mixerActor, "restart", "recovered"); err != nil {
		return err
	}
	return s.allWell(ctx)
}

func (s *story) hangs(ctx context.Context) error {
	s.mark()
	if err := s.inject(ctx, "hang", lineActor, time.Minute); err != nil {
		return err
	}
	if err := s.healed(ctx, lineActor, "cycle", "recovered"); err != nil {
		return err
	}
	return s.allWell(ctx)
}

func (s *story) unplugs(ctx context.Context) error {
	if err := s.d.plant.Line.Unplug(); err != nil {
		return err
	}
	return s.n.await(ctx, 10*time.Second, meterActor+" reports that its line is unplugged", func() bool {
		h := s.n.health[meterActor]
		v := s.n.values[meterActor]
		return h.GetState() != actors.OK && v != nil && v.Samples[0].Quality == "stale"
	})
}

func (s *story) plugs(ctx context.Context) error {
	begin := time.Now()
	if err := s.d.plant.Line.Plug(); err != nil {
		return err
	}
	err := s.n.await(ctx, 15*time.Second, "a good reading of "+meterActor, func() bool {
		return s.n.heard[meterActor].After(begin)
	})
	if err != nil {
		return err
	}
	return s.allWell(ctx)
}

// starves kills the modem whenever it comes back, until nothing is left to heal it with.
func (s *story) starves(ctx context.Context) error {
	s.mark()
	first := s.gateway()
	var life uint32
	for {
		err := s.n.await(ctx, 10*time.Second, modemActor+" recovers, or the watchdog is starved", func() bool {
			h := s.n.health[modemActor]
			return s.n.over >= first || h.GetState() == actors.OK && h.GetLife() != life
		})
		if err != nil {
			return err
		}
		s.n.mu.Lock()
		over := s.n.over >= first
		life = s.n.health[modemActor].GetLife()
		s.n.mu.Unlock()
		if over {
			return s.healed(ctx, "radio", "full-restart")
		}
		if err := s.inject(ctx, "kill", modemActor, 0); err != nil {
			// A gateway that is about to end answers nobody.
			if s.n.await(ctx, 2*time.Second, "the watchdog is starved", func() bool { return s.n.over >= first }) != nil {
				return err
			}
		}
	}
}

func (s *story) restarts(ctx context.Context) error {
	err := s.n.await(ctx, 15*time.Second, "a new gateway with the boot record of the last one", func() bool {
		return s.n.gateway > 1 && s.n.boot != nil && s.n.boot.LastEnd == "starved"
	})
	if err != nil {
		return err
	}
	s.n.mu.Lock()
	boot := s.n.boot
	s.n.mu.Unlock()
	fmt.Fprintf(s.d.out, "   boot record of the last run: %s\n   because of: %s\n   cause: %s\n   its last events: %d\n",
		s.p.In(terminal.Red, boot.LastEnd), s.p.In(terminal.Bold, boot.Who), boot.Why, len(boot.Events))
	return s.allWell(ctx)
}

// mark begins a new part of the story: earlier healing no longer counts.
func (s *story) mark() {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.n.healed = nil
}

// healed waits until child has been healed by these levels, in this order.
func (s *story) healed(ctx context.Context, child string, levels ...string) error {
	return s.n.await(ctx, 20*time.Second, fmt.Sprintf("%s is healed by %v", child, levels), func() bool {
		left := levels
		for _, h := range s.n.healed {
			if len(left) > 0 && h.Child == child && h.Level == left[0] {
				left = left[1:]
			}
		}
		return len(left) == 0
	})
}

// allWell waits until every actor that can be healthy is.
func (s *story) allWell(ctx context.Context) error {
	err := s.n.await(ctx, 20*time.Second, "every actor is healthy again", func() bool { return len(s.ailing()) == 0 && !s.n.heard[meterActor].IsZero() })
	if err != nil {
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		return fmt.Errorf("%w; not healthy: %v", err, s.ailing())
	}
	return nil
}

// ailing returns the actors that could be healthy and are not. The caller holds the mutex of the
// news.
func (s *story) ailing() []string {
	return slices.DeleteFunc(slices.Clone(s.able), func(path string) bool { return s.n.health[path].GetState() == actors.OK })
}

func (s *story) gateway() int {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	return s.n.gateway
}

// inject injects a fault through the drill actor, as an operator would.
func (s *story) inject(ctx context.Context, fault, path string, long time.Duration) error {
	conn, err := bus.Dial(bus.Options{URL: "nats://" + s.d.bus, Name: "gatewayd demo --drill"})
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := &drillv1.InjectRequest{Fault: fault, Path: path, Rate: proto.Float64(1)}
	if long > 0 {
		req.Duration = durationpb.New(long)
	}
	return conn.Call(ctx, bus.Subject("demo", bus.Cmd, "drill", "Inject"), req, &drillv1.InjectResponse{})
}
