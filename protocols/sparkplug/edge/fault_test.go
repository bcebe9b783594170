package edge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/edge"
	"gatewayd/protocols/uplink"
)

// A feeder does what an uplink does: it sends each batch until it is acknowledged, and dials again
// when the connection has ended.
type feeder struct {
	s     *site
	x     uplink.Sender
	clock func() time.Time
	next  map[string]uint64
	acked map[string]time.Time // track and sequence, with the time of the record
	lost  int
}

// batch returns the next records of some tracks; each has a metric equal to its sequence.
func (f *feeder) batch(size int) (all []record.Record) {
	for i := range size {
		track := []string{"tracks/a", "tracks/b", "tracks/c"}[i%3]
		f.next[track]++
		all = append(all, record.Record{Track: track, Sequence: f.next[track], Time: f.clock(), Fields: []record.Field{{Name: "n", Value: int64(f.next[track])}}})
	}
	return all
}

func (f *feeder) send(all []record.Record) {
	t := f.s.t
	for end := time.Now().Add(patience); ; f.lost++ {
		if time.Now().After(end) {
			t.Fatal("never acknowledged")
		}
		if f.x == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			x, err := f.s.edge.Dial(ctx, f.s.hear)
			cancel()
			if err != nil {
				continue
			}
			f.x = x
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := f.x.Send(ctx, all)
		cancel()
		if err == nil {
			break
		}
		_ = f.x.Close()
		f.x = nil
	}
	for _, r := range all {
		f.acked[fmt.Sprint(r.Track, " ", r.Sequence)] = r.Time
	}
}

// account compares what was acknowledged with what the host has received: nothing is missing or
// wrong, each metric came in order except for repetitions, and the sequence numbers are in order.
func (f *feeder) account() {
	t, s := f.s.t, f.s
	for key := range f.acked {
		track, n, _ := strings.Cut(key, " ")
		s.until(key, func(all []told) bool { return f.count(all, track, n) > 0 })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := map[string]uint64{}
	doubles := 0
	names := map[uint64]string{}
	for _, m := range s.heard {
		if strings.HasSuffix(m.Verb, "BIRTH") {
			for _, x := range m.Metrics {
				names[x.Alias] = m.Device + " " + x.Name
			}
			continue
		}
		for _, x := range m.Metrics {
			n, ok := x.Value.(sparkplug.Long)
			if !ok || m.Verb != sparkplug.DDATA || !strings.HasSuffix(names[x.Alias], " n") {
				continue
			}
			track := strings.ReplaceAll(m.Device, ".", "/")
			if at, ok := f.acked[fmt.Sprint(track, " ", uint64(n))]; ok && at.UnixMilli() != x.Time && x.Historical {
				t.Errorf("%s %d has time %d, want %d", track, n, x.Time, at.UnixMilli())
			}
			switch last := newest[track]; {
			case uint64(n) == last+1:
				newest[track]++
			case uint64(n) <= last:
				doubles++
			default:
				t.Errorf("%s: %d follows %d", track, n, last)
			}
		}
	}
	for track, n := range newest {
		if n != f.next[track] {
			t.Errorf("%s ends with %d, want %d", track, n, f.next[track])
		}
	}
	t.Logf("%d acknowledged, %d told again, %d attempts failed, %d connections", len(f.acked), doubles, f.lost, len(s.saved))
}

func (f *feeder) count(all []told, track, n string) (c int) {
	device := strings.ReplaceAll(track, "/", ".")
	for _, m := range all {
		if m.Verb != sparkplug.DDATA || m.Device != device {
			continue
		}
		for _, x := range m.Metrics {
			if fmt.Sprint(x.Value) == n {
				c++
			}
		}
	}
	return c
}

func newFeeder(s *site) *feeder {
	return &feeder{s: s, clock: time.Now, next: map[string]uint64{}, acked: map[string]time.Time{}}
}

// The connection is cut after arbitrary numbers of bytes, again and again.
func TestCutsAtAnyMoment(t *testing.T) {
	s := newSite(t, 1, "", nil)
	f := newFeeder(s)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		s.taps[0].CutAfter(r.IntN(1500))
		for range 3 {
			f.send(f.batch(6))
		}
	}
	s.taps[0].CutAfter(-1)
	f.send(f.batch(3))
	s.stopping(true)
	_ = f.x.Close()
	f.account()
	s.fine()
}

// The primary host goes offline and comes back at one of two servers or both, and servers fail as
// well; the node is restarted meanwhile, with a backlog.
func TestHostAndServersComeAndGo(t *testing.T) {
	s := newSite(t, 2, "scada", func(c *edge.Config) { c.Settle = 10 * time.Millisecond })
	f := newFeeder(s)
	s.say(true, 0, 1)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 30 {
		f.send(f.batch(3))
		which := r.IntN(2)
		switch r.IntN(4) {
		case 0:
			s.say(false, which)
		case 1:
			s.say(false, which)
			f.send(f.batch(6))
			s.say(true, which)
		case 2:
			s.taps[which].Cut()
		case 3:
			s.taps[which].Refuse(true)
			s.taps[which].Cut()
		}
		if round%10 == 9 { // recorded in the meantime
			s.stopping(true)
			if f.x != nil {
				_ = f.x.Close()
				f.x = nil
			}
			s.shared.Rest()
			s.stopping(false)
			s.restart(s.saved[len(s.saved)-1])
		}
		f.send(f.batch(9))
		s.taps[which].Refuse(false)
		s.say(true, 0, 1)
	}
	s.stopping(true)
	_ = f.x.Close()
	f.account()
	s.fine()
}

// The clock is far off, and is set back and forth.
func TestTheClockIsWrong(t *testing.T) {
	var off atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	s := newSite(t, 1, "", func(c *edge.Config) { c.Now = clock })
	f := newFeeder(s)
	f.clock = clock
	for _, by := range []time.Duration{-50 * 365 * 24 * time.Hour, 50 * 365 * 24 * time.Hour, 25 * time.Hour, -25 * time.Hour, -time.Hour, time.Hour} {
		for range 5 {
			f.send(f.batch(6))
		}
		kept := f.batch(6)
		off.Add(int64(by))
		f.send(kept)
	}
	s.stopping(true)
	_ = f.x.Close()
	f.account()
	s.fine()
}
