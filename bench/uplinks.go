package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/track"
	"gatewayd/actors/uplinkmqtt"
	"gatewayd/bus"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/record"
	"gatewayd/schemas"
	trackv1 "gatewayd/schemas/track/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
	"gatewayd/supervisor/config"
)

const (
	idleUplinks = 10
	idleTracks  = 100
	idleTime    = 20 * time.Second
)

// uplinksIdle is the figure "uplinks-idle": memory and CPU of uplinks with nothing to send, and of
// tracks whose points are silent.
func uplinksIdle(_ context.Context, b *bench) error {
	address, stop, err := localBroker(b.dir)
	if err != nil {
		return err
	}
	defer stop()
	debug.SetGCPercent(25) // as in the daemon
	w, err := newWorld(b.dir, uplinkmqtt.Kind, track.Kind)
	if err != nil {
		return err
	}
	defer w.close()
	live()
	debug.FreeOSMemory()
	before, err := usageOf("self")
	if err != nil {
		return err
	}
	cfg := forest(0, 0, "")
	tracks := group("tracks")
	for i := range idleTracks {
		c := &trackv1.Track{Number: uint32(i + 1), Fields: []*trackv1.Field{{From: fmt.Sprintf("field/line/meter-%d/power", i), Unit: "W"}}}
		schemas.Defaults(c)
		tracks.Children = append(tracks.Children, &config.Node{Path: fmt.Sprintf("tracks/t%d", i), Kind: "track", Config: c})
	}
	uplinks := group("uplinks")
	for i := range idleUplinks {
		uplinks.Children = append(uplinks.Children, uplinkNode(fmt.Sprintf("uplinks/u%d", i), "tcp://"+address).Children...)
	}
	cfg.Root.Children = append(cfg.Root.Children, tracks, uplinks)
	if err := w.tree.Start(cfg); err != nil {
		return err
	}
	ready := func() bool {
		for i := range idleUplinks {
			s, err := uplinkStatus(context.Background(), w, fmt.Sprintf("uplinks/u%d", i))
			if err != nil || s.State != "idle" && s.State != "sending" || !s.Begun {
				return false
			}
		}
		return true
	}
	if err := until("ten uplinks", time.Minute, ready); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	debug.FreeOSMemory() // as the daemon does after a load
	debug.FreeOSMemory()
	cpu := cpuSelf()
	time.Sleep(idleTime)
	share := 100 * (cpuSelf() - cpu).Seconds() / idleTime.Seconds()
	after, err := usageOf("self")
	if err != nil {
		return err
	}
	b.say(row{
		Figure: "10 uplinks and 100 tracks, idle: RssAnon more", Value: mb(after.anon - before.anon), Limit: "≤ 8 MB",
		Note: "VmRSS, with pages of the program that run for the first time: " + mb(after.rss-before.rss) + " more",
	}.below(float64(after.anon-before.anon), 8e6))
	b.say(row{Figure: "10 uplinks and 100 tracks, idle: CPU", Value: fmt.Sprintf("%.2f %% of a core", share), Limit: "≤ 1 %"}.below(share, 1))
	return nil
}

const (
	beatTracks = 5
	beatEvery  = 20 * time.Millisecond // interval of the chunks of each track
	beatRounds = 10                    // alternately without and with the dead uplink
	beatTime   = 3 * time.Second
)

// witness is a client of the broker that measures what arrives there.
type witness struct {
	mu   sync.Mutex
	took []time.Duration // per record, from its source time to its arrival
}

func (w *witness) hear(m mqttclient.Message) {
	var all []struct {
		Time time.Time `json:"time"`
	}
	now := time.Now()
	if json.Unmarshal(m.Payload, &all) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range all {
		w.took = append(w.took, now.Sub(r.Time))
	}
}

func (w *witness) take() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := w.took
	w.took = nil
	return took
}

// deadUplink is the figure "dead-uplink": what two live uplinks deliver beside a far end that
// accepts connections and never answers, compared with what they deliver without it.
func deadUplink(ctx context.Context, b *bench) error {
	address, stop, err := localBroker(b.dir)
	if err != nil {
		return err
	}
	defer stop()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = silent.Close() }()
	w, err := newWorldOf(b.dir, 256<<20, uplinkmqtt.Kind)
	if err != nil {
		return err
	}
	defer w.close()
	seen := &witness{}
	k, err := mqttclient.Dial(ctx, mqttclient.Config{URL: "tcp://" + address, ClientID: "witness", Subscriptions: []mqttclient.Subscription{{Filter: "gatewayd/#", OnMessage: seen.hear}}})
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }()
	cfg := forest(0, 0, "")
	g := group("uplinks")
	for name, url := range map[string]string{"uplinks/one": "tcp://" + address, "uplinks/two": "tcp://" + address, "uplinks/dead": "tcp://" + silent.Addr().String()} {
		g.Children = append(g.Children, uplinkNode(name, url).Children...)
	}
	cfg.Root.Children = append(cfg.Root.Children, g)
	if err := w.tree.Start(cfg); err != nil {
		return err
	}
	dead := uplinkNode("uplinks/dead", "tcp://"+silent.Addr().String()).Children[0].Config
	ending, end := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	for i := range beatTracks {
		feeding.Go(func() { beat(ending, w, i) })
	}
	defer feeding.Wait()
	defer end()
	if err := until("records", time.Minute, func() bool { return len(seen.take()) > 0 }); err != nil {
		return err
	}
	var without, with []time.Duration
	var rates [2]int
	for round := range 2 * beatRounds {
		if err := turn(ctx, w, dead, round%2 == 0); err != nil {
			return err
		}
		time.Sleep(beatTime / 3)
		seen.take()
		time.Sleep(beatTime)
		took := seen.take()
		rates[round%2] += len(took)
		if round%2 == 0 {
			without = append(without, took...)
		} else {
			with = append(with, took...)
		}
	}
	each := func(n int) float64 { return float64(n) / (beatRounds * beatTime).Seconds() }
	rate, late := float64(rates[1])/float64(rates[0]), median(with).Seconds()/median(without).Seconds()
	b.say(row{
		Figure: "two uplinks beside a dead one: records", Value: fmt.Sprintf("%.0f/s", each(rates[1])), Peer: fmt.Sprintf("%.0f/s without it", each(rates[0])), Ratio: rate, Limit: "within 1 %",
	}.below(math.Abs(rate-1), 0.01))
	b.say(row{
		Figure: "two uplinks beside a dead one: latency, p50", Value: median(with).Round(100 * time.Microsecond).String(),
		Peer: median(without).Round(100*time.Microsecond).String() + " without it", Ratio: late, Limit: "≤ 1 % more",
	}.below(late, 1.01))
	return nil
}

// turn makes an uplink rest, or try.
func turn(ctx context.Context, w *world, cfg proto.Message, rests bool) error {
	c := proto.CloneOf(cfg.(*uplinkv1.UplinkMqtt))
	c.Send.Timeout, c.Send.MaxBackoff = durationpb.New(2*time.Second), durationpb.New(time.Second)
	if rests {
		c.Send.Quiet = []string{"00:00-12:00", "12:00-24:00"}
	}
	cell := w.sys.Lookup("uplinks/dead")
	if cell == nil {
		return fmt.Errorf("there is no dead uplink")
	}
	cell.Reconfigure(c)
	return ctx.Err()
}

// beat stores a record of a track at each interval.
func beat(ctx context.Context, w *world, i int) {
	name := fmt.Sprintf("tracks/beat-%d", i)
	done := make(chan error, 1)
	clock := time.NewTicker(beatEvery)
	defer clock.Stop()
	for s := uint64(1); ; s++ {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		r := record.Record{Track: name, Sequence: s, Boot: "bench", Time: time.Now(), Trusted: true, Fields: []record.Field{{Name: "power", ID: 1, Value: float64(s)}}}
		p, err := record.Encode(&record.Chunk{Track: name, Number: uint32(i + 1), First: s, Count: 1, Boot: "bench", Records: slices.Clone([]record.Record{r})})
		if err != nil {
			return
		}
		w.bus.Conn().Keep(bus.Subject(gateway, bus.Track, name, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
		if <-done != nil {
			return
		}
	}
}
