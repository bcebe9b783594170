package main

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// A fleet of any size on paper: what a hub of so many servers bears, from what each gateway was measured to cost (figure fleet), and a simulation of what happens
// when one of its servers dies.
//
// What a gateway costs there, as figure fleet printed it with 200 gateways at three servers; where several runs differ, the worst.
const (
	siteSubscriptions = 11.0      // on each server: what a gateway may be asked travels to all of them
	siteOnServer      = 100 << 10 // bytes of a server that a gateway is connected to
	siteOnEach        = 11 * 450  // bytes of every server, for the subscriptions
	siteMessages      = 1.0 / 60  // a second: its standing
	sourcedMessages   = 2.0       // a second: the heartbeat of a sourced gateway, and what flow control answers
	handshakeCPU      = 4.0e-3    // seconds of a core for one gateway that connects, with TLS and an nkey
	serverCores       = 8         // of a server of the hub
	serverMemory      = 32 << 30  // bytes
	serverMessages    = 200_000.0 // a second that a server carries, and leaves room
	streamSources     = 1000      // gateways that one stream sources, at most
	handshakePatience = 10.0      // seconds that a gateway waits for an answer
)

// plan is a fleet on paper.
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
	for _, p := range []fleetPlan{{200, 3, true}, {1000, 3, true}, {10_000, 3, true}, {10_000, 3, false}, {100_000, 3, false}, {100_000, 9, false}, {100_000, 9, true}} {
		how := "uplinks only"
		if p.sourced {
			how = "tracks sourced"
		}
		streams := 1
		if p.sourced {
			streams += (p.gateways + streamSources - 1) / streamSources
		}
		b.say(row{
			Figure: fmt.Sprintf("%d gateways, %d servers, %s", p.gateways, p.servers, how),
			Value:  fmt.Sprintf("%d connections a server", (p.gateways+p.servers-1)/p.servers),
			Peer:   fmt.Sprintf("%.1f M subscriptions, %s a server", float64(p.gateways)*siteSubscriptions/1e6, mb(int64(p.memory()))),
			Note:   fmt.Sprintf("%.0f messages a second of nothing but being there; %d streams at the hub, %d consumers at gateways", p.messages(), streams, consumersOf(p)),
		})
	}
	for _, n := range []int{1000, 10_000, 100_000} {
		servers := 3
		if n > 10_000 {
			servers = 9
		}
		for _, s := range []storm{
			{gateways: n / servers, capacity: float64(servers-1) * serverCores / handshakeCPU, interval: 1, spread: 0},
			{gateways: n / servers, capacity: float64(servers-1) * serverCores / handshakeCPU, interval: 2, spread: 0.5},
			{gateways: n / servers, capacity: float64(servers-1) * serverCores / handshakeCPU, interval: 60, spread: 0.5},
		} {
			r := s.run(rand.New(rand.NewPCG(1, 2)))
			b.say(row{
				Figure: fmt.Sprintf("one of %d servers dies: its %d of %d gateways", servers, s.gateways, n),
				Value:  fmt.Sprintf("all back after %.1f s", r.last), Peer: fmt.Sprintf("each tries again after %s", s.text()),
				Note: fmt.Sprintf("half of them after %.1f s; %d attempts, %d in vain; %.0f connections a second and server at worst", r.half, r.attempts, r.vain, r.worst/float64(servers-1)),
			})
		}
	}
	return nil
}

func consumersOf(p fleetPlan) int {
	if p.sourced {
		return p.gateways
	}
	return 0
}

// storm is what follows when gateways lose their server together and try the others.
type storm struct {
	gateways int
	capacity float64 // connections that the others bear, a second
	interval float64 // seconds between two attempts of a gateway, about
	spread   float64 // each gateway draws its own interval: that much more or less of it
}

type stormResult struct {
	half, last     float64 // seconds until half of them, and all, are back
	attempts, vain int
	worst          float64 // attempts within a second
}

func (s storm) text() string {
	if s.spread == 0 {
		return (time.Duration(s.interval) * time.Second).String() + " exactly"
	}
	return fmt.Sprintf("%.0f to %.0f s of its own", s.interval*(1-s.spread), s.interval*(1+s.spread))
}

// attempt is a gateway that knocks at a time.
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

// run plays it: the servers take one after the other; one that waits longer than its patience hangs up, and has cost as much.
func (s storm) run(r *rand.Rand) (out stormResult) {
	var todo agenda
	for range s.gateways {
		interval := s.interval * (1 + s.spread*(2*r.Float64()-1))
		todo = append(todo, attempt{interval, interval})
	}
	heap.Init(&todo)
	free, back := 0.0, 0 // when the servers have done all that came so far
	perSecond := map[int]int{}
	for todo.Len() > 0 {
		a := heap.Pop(&todo).(attempt)
		out.attempts++
		perSecond[int(a.at)]++
		free = max(free, a.at) + 1/s.capacity
		if free-a.at > handshakePatience {
			out.vain++
			heap.Push(&todo, attempt{a.at + handshakePatience + a.interval*(1+r.Float64()), a.interval})
			continue
		}
		if back++; back == (s.gateways+1)/2 {
			out.half = free
		}
		out.last = free
	}
	for _, n := range perSecond {
		out.worst = max(out.worst, float64(n))
	}
	return out
}
