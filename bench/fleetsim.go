package main

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// These are the costs of a gateway at a hub, as measured by figure "fleet" with 200 gateways at
// three servers; where runs differ, the worst. From them the load of a hub is calculated for fleets
// of any size, and the death of one of its servers is simulated.
const (
	siteSubscriptions = 15       // on each server: every server knows the subscriptions of all gateways
	siteOnServer      = 650_000  // bytes, on the server to which it is connected, including its uplink
	siteOnEach        = 15 * 300 // bytes, on each server, for the subscriptions
	siteMessages      = 1.0 / 60 // per second: its standing
	sourcedMessages   = 10.3     // per second, in and out of the hub, replicated on three servers: heartbeats and the traffic of flow control
	handshakeCPU      = 20e-3    // seconds of a core for a gateway that connects, with TLS and an nkey, and all that follows; from the run with the least other load
	serverCores       = 8        // per server of the hub
	streamSources     = 50       // gateways sourced by one stream
	handshakePatience = 10.0     // seconds that a gateway waits for an answer
	stormPatience     = 600.0    // seconds after which a gateway counts as missing
)

// fleetPlan is a fleet of a given size.
type fleetPlan struct {
	gateways, servers int
	sourced           bool
}

func (p fleetPlan) memory() float64 {
	return float64(p.gateways)/float64(p.servers)*siteOnServer + float64(p.gateways)*siteOnEach
}

func (p fleetPlan) messages() float64 {
	m := siteMessages
	if p.sourced {
		m += sourcedMessages
	}
	return float64(p.gateways) * m
}

func fleetSim(_ context.Context, b *bench) error {
	for _, p := range []fleetPlan{{1000, 3, true}, {10_000, 3, true}, {10_000, 3, false}, {100_000, 9, false}, {100_000, 9, true}} {
		how := "uplinks only"
		if p.sourced {
			how = "tracks sourced"
		}
		b.say(row{
			Figure: fmt.Sprintf("%d gateways, %d servers, %s", p.gateways, p.servers, how),
			Value:  fmt.Sprintf("%d connections a server", (p.gateways+p.servers-1)/p.servers),
			Peer:   fmt.Sprintf("%.2f M subscriptions, %.1f GB a server", float64(p.gateways)*siteSubscriptions/1e6, p.memory()/1e9),
			Note: fmt.Sprintf("%.0f messages a second of nothing but being there; %d streams at the hub, %d consumers at gateways",
				p.messages(), p.streams(), p.consumers()),
		})
	}
	for _, n := range []int{1000, 10_000, 100_000} {
		servers := 3
		if n > 10_000 {
			servers = 9
		}
		for _, interval := range []float64{2, 30, 120} {
			one := storm{gateways: n / servers, servers: servers - 1, interval: interval}
			all := storm{gateways: n, servers: servers, interval: interval}
			b.say(row{Figure: fmt.Sprintf("one of %d servers dies: its %d of %d gateways", servers, one.gateways, n), Value: one.run().text(), Peer: one.text()})
			b.say(row{Figure: fmt.Sprintf("all %d servers die and come back: %d gateways", servers, n), Value: all.run().text(), Peer: all.text()})
		}
	}
	return nil
}

func (p fleetPlan) streams() int {
	if !p.sourced {
		return 1
	}
	return 1 + (p.gateways+streamSources-1)/streamSources
}

func (p fleetPlan) consumers() int {
	if !p.sourced {
		return 0
	}
	return p.gateways
}

// storm is what follows when gateways lose the hub at the same moment. Each tries again after a
// pause of its own, between half and one and a half of the interval.
type storm struct {
	gateways int
	servers  int     // that accept them
	interval float64 // seconds
}

type stormResult struct {
	last           float64 // seconds until all are back
	missing        int     // gateways that are not back in time
	attempts, vain int
	worst          int // attempts within a second
}

func (s storm) text() string { return fmt.Sprintf("reconnect = \"%.0fs\"", s.interval) }

func (r stormResult) text() string {
	text := fmt.Sprintf("all back after %.0f s", math.Ceil(r.last))
	if r.missing > 0 {
		text = fmt.Sprintf("%d not back after %.0f s", r.missing, stormPatience)
	}
	if r.vain > 0 {
		text += fmt.Sprintf(", %d attempts in vain", r.vain)
	}
	return fmt.Sprintf("%s; %d a second at worst", text, r.worst)
}

// attempt is an attempt of a gateway to connect at a time.
type attempt struct {
	at       float64
	interval float64
}

type agenda []attempt

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(attempt)) }
func (a *agenda) Pop() any          { last := (*a)[len(*a)-1]; *a = (*a)[:len(*a)-1]; return last }

// run simulates the storm. The servers handle one attempt after the other. A gateway that has to
// wait longer than its patience hangs up, and has cost as much as one that got in.
func (s storm) run() (out stormResult) {
	r := rand.New(rand.NewPCG(1, 2))
	capacity := float64(s.servers) * serverCores / handshakeCPU
	var todo agenda
	for range s.gateways {
		interval := s.interval * (0.5 + r.Float64())
		todo = append(todo, attempt{interval, interval})
	}
	heap.Init(&todo)
	free := 0.0 // when the servers have handled all attempts so far
	perSecond := map[int]int{}
	for todo.Len() > 0 {
		if todo[0].at > stormPatience {
			out.missing = todo.Len()
			break
		}
		a := heap.Pop(&todo).(attempt)
		out.attempts++
		perSecond[int(a.at)]++
		free = max(free, a.at) + 1/capacity
		if free-a.at > handshakePatience {
			out.vain++
			heap.Push(&todo, attempt{a.at + handshakePatience + a.interval*(1+r.Float64()), a.interval})
			continue
		}
		out.last = free
	}
	for _, n := range perSecond {
		out.worst = max(out.worst, n)
	}
	return out
}
