package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/clock"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/watchdog"
)

// news is what the demo has received from its gateway, and from the next one after a restart. The
// bus calls it from goroutines of its own.
type news struct {
	units map[string]map[string]string

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	gateway int           // how many have been started
	over    int           // how many of them have starved
	address string
	health  map[string]*actorv1.Health
	traffic map[string]*traffic
	values  map[string]*samplev1.Samples
	uplinks map[string]*uplinkv1.Status
	heard   map[string]time.Time // when the last good sample of an actor arrived
	healed  []*actorv1.Healed
	lines   []look.NewsLine // in the order of their own times
	untold  []look.NewsLine
	boot    *gatewayv1.Boot
	stops   []func()
}

// linesKept is the number of lines of the past that are kept.
const linesKept = 100

func newNews(units map[string]map[string]string) *news {
	n := &news{units: units, changed: make(chan struct{})}
	n.forget()
	return n
}

func (n *news) forget() {
	n.health, n.traffic = map[string]*actorv1.Health{}, map[string]*traffic{}
	n.values, n.heard = map[string]*samplev1.Samples{}, map[string]time.Time{}
	n.uplinks = map[string]*uplinkv1.Status{}
	n.boot = nil
}

// follow subscribes to a new gateway.
func (n *news) follow(g *daemon.Gateway) error {
	conn, prefix := g.Bus.Conn(), "gw."+g.Bus.Gateway()+"."
	n.mu.Lock()
	n.forget()
	n.gateway++
	n.address = g.Bus.Addr()
	n.mu.Unlock()
	for class, hear := range map[bus.Class]func(bus.Msg){bus.Data: n.data, bus.Event: n.event, bus.State: n.state} {
		stop, err := conn.Subscribe(prefix+string(class)+".>", hear)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.stops = append(n.stops, stop)
		n.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return conn.Last(ctx, prefix+"state.>", func(r bus.Record) error {
		n.tell(r.Msg, true)
		return nil
	})
}

// unfollow ends follow.
func (n *news) unfollow() {
	n.mu.Lock()
	stops := n.stops
	n.stops = nil
	n.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// update changes n and wakes all that wait for a change.
func (n *news) update(fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fn()
	close(n.changed)
	n.changed = make(chan struct{})
}

// say adds a line. The caller holds n.mu.
func (n *news) say(l look.NewsLine) {
	l.Heard = time.Now()
	n.lines = append(n.lines, l)
	if len(n.lines) > linesKept {
		n.lines = slices.Delete(n.lines, 0, 1)
	}
	slices.SortStableFunc(n.lines, look.NewsLine.Compare)
	n.untold = append(n.untold, l)
	n.untold = n.untold[max(0, len(n.untold)-linesKept):]
}

// untie is how long a line waits for others that belong before it, since states and events are
// received independently.
const untie = 50 * time.Millisecond

// fresh returns the lines heard before t that have not been taken yet, in the order of their own
// times.
func (n *news) fresh(t time.Time) []look.NewsLine {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := 0
	for i < len(n.untold) && n.untold[i].Heard.Before(t) {
		i++
	}
	lines := slices.Clone(n.untold[:i])
	n.untold = n.untold[i:]
	slices.SortStableFunc(lines, look.NewsLine.Compare)
	return lines
}

// print prints lines as they arrive until ctx ends.
func (n *news) print(ctx context.Context, show func(look.NewsLine)) {
	clock.Regularly(ctx, untie, func(now time.Time) {
		for _, l := range n.fresh(now.Add(-untie)) {
			show(l)
		}
	})
}

func (n *news) data(m bus.Msg) {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		return
	}
	samples := &samplev1.Samples{}
	if m.Decode(samples) != nil || len(samples.Samples) == 0 {
		samples = nil
	}
	n.update(func() {
		t := n.traffic[a.Path]
		if t == nil {
			t = &traffic{}
			n.traffic[a.Path] = t
		}
		t.count(time.Now())
		if samples == nil {
			return
		}
		n.values[a.Path] = samples
		if samples.Samples[0].Quality == "" {
			n.heard[a.Path] = time.Now()
		}
	})
}

func (n *news) state(m bus.Msg) { n.tell(m, false) }

// tell handles a state. kept is true for a stored one, which does not overrule what has been
// received since the subscription.
func (n *news) tell(m bus.Msg, kept bool) {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		return
	}
	switch a.Leaf {
	case "health":
		if len(m.Data) == 0 { // withdrawn: the config no longer has this actor
			n.update(func() { delete(n.health, a.Path) })
			return
		}
		h := &actorv1.Health{}
		if m.Decode(h) != nil {
			return
		}
		n.update(func() {
			if !kept || n.health[a.Path] == nil {
				n.hear(a.Path, h)
			}
		})
	case "uplink":
		u := &uplinkv1.Status{}
		if m.Decode(u) != nil {
			return
		}
		n.update(func() {
			if !kept || n.uplinks[a.Path] == nil {
				n.uplinks[a.Path] = u
			}
		})
	case "boot":
		b := &gatewayv1.Boot{}
		if a.Path != supervisor.Root || m.Decode(b) != nil {
			return
		}
		n.update(func() {
			if !kept || n.boot == nil {
				n.boot = b
			}
		})
	}
}

func (n *news) hear(path string, h *actorv1.Health) {
	old := n.health[path]
	n.health[path] = h
	if l, worth := look.HealthLine(path, old, h); worth {
		n.say(l)
	}
}

func (n *news) event(m bus.Msg) {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		return
	}
	l, worth := look.EventLine(a, m)
	healed := &actorv1.Healed{}
	if a.Leaf != "healed" || m.Decode(healed) != nil {
		healed = nil
	}
	n.update(func() {
		if healed != nil {
			n.healed = append(n.healed[max(0, len(n.healed)-linesKept):], healed)
		}
		if worth {
			n.say(l)
		}
	})
}

// starved notes the end of a gateway.
func (n *news) starved(cause watchdog.Cause) {
	n.update(func() {
		n.over = n.gateway
		n.say(look.NewsLine{At: time.Now(), Who: cause.Path, What: "the watchdog is no longer petted: " + cause.Reason, Colour: terminal.Red})
	})
}

// await waits until done returns true. done is called with n.mu held.
func (n *news) await(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		n.mu.Lock()
		ok, changed := done(), n.changed
		n.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("this did not happen within %s: %s", limit, what)
		}
	}
}

// standings returns all actors in the order of the tree. The caller holds n.mu.
func (n *news) standings() []client.Standing {
	paths := slices.SortedFunc(maps.Keys(n.health), client.ComparePaths)
	all := make([]client.Standing, len(paths))
	for i, p := range paths {
		all[i] = client.Standing{Path: p, Health: n.health[p]}
	}
	return all
}

// traffic counts messages per second.
type traffic struct {
	second [8]int64
	n      [8]int
}

func (t *traffic) count(now time.Time) {
	s := now.Unix()
	i := s % int64(len(t.n))
	if t.second[i] != s {
		t.second[i], t.n[i] = s, 0
	}
	t.n[i]++
}

// rate returns the messages per second over the last five complete seconds.
func (t *traffic) rate(now time.Time) float64 {
	if t == nil {
		return 0
	}
	sum := 0
	for i, s := range t.second {
		if ago := now.Unix() - s; ago >= 1 && ago <= 5 {
			sum += t.n[i]
		}
	}
	return float64(sum) / 5
}
