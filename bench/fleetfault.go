package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// quiet measures the hub without faults, and prints what a gateway costs there, for the simulation.
func (f *party) quiet(b *bench) error {
	first, cpu := f.look(), f.cpu()
	time.Sleep(fleetHold)
	last, used := f.look(), f.cpu()
	if len(first) != len(f.nodes) || len(last) != len(f.nodes) {
		return fmt.Errorf("%d and %d of %d servers of the hub answer", len(first), len(last), len(f.nodes))
	}
	var in, out int64
	var leafs, subs []string
	total := 0
	for i, v := range last {
		leafs, subs = append(leafs, strconv.Itoa(v.Data.Leafs)), append(subs, strconv.Itoa(v.Data.Subscriptions))
		total += v.Data.Subscriptions
		k := slices.IndexFunc(first, func(o varz) bool { return o.Server.Name == v.Server.Name })
		if k < 0 {
			k = i
		}
		in, out = in+v.Data.InMsgs-first[k].Data.InMsgs, out+v.Data.OutMsgs-first[k].Data.OutMsgs
	}
	n := float64(len(f.ids))
	b.say(row{Figure: "connections of gateways by server", Value: strings.Join(leafs, " + ")})
	b.say(row{Figure: "subscriptions by server", Value: strings.Join(subs, " + "), Note: fmt.Sprintf("%.1f a gateway on each server", float64(total)/float64(len(f.nodes))/n)})
	b.say(row{Figure: "messages in and out of the hub", Value: fmt.Sprintf("%.0f + %.0f a second", float64(in)/fleetHold.Seconds(), float64(out)/fleetHold.Seconds()), Note: fmt.Sprintf("%.2f + %.2f a second and gateway", float64(in)/fleetHold.Seconds()/n, float64(out)/fleetHold.Seconds()/n)})
	b.say(row{Figure: "memory of the largest server", Value: mb(f.largest())})
	b.say(row{Figure: "processor time of the hub", Value: fmt.Sprintf("%.1f %% of a core", 100*(used-cpu).Seconds()/fleetHold.Seconds())})
	streams, consumers, err := f.assets()
	if err != nil {
		return err
	}
	b.say(row{Figure: "streams and consumers at the hub", Value: fmt.Sprintf("%d + %d", streams, consumers), Note: "at each gateway: 4 streams, 2 consumers"})
	return nil
}

// cpu returns the CPU time that the servers of the hub have used.
func (f *party) cpu() (all time.Duration) {
	for _, p := range f.servers {
		if u, err := p.usage(); err == nil {
			all += u.cpu
		}
	}
	return all
}

func (f *party) assets() (streams, consumers int, err error) {
	m, err := f.admin.Request("$JS.API.INFO", nil, 5*time.Second)
	if err != nil {
		return 0, 0, err
	}
	var info struct{ Streams, Consumers int }
	return info.Streams, info.Consumers, json.Unmarshal(m.Data, &info)
}

// kill kills a server of the hub with SIGKILL and watches its gateways connect to the others.
func (f *party) kill(b *bench) error {
	victim := f.servers[1]
	gone := 0
	for _, v := range f.look() {
		if v.Server.Name == "hub-2" {
			gone = v.Data.Leafs
		}
	}
	began, used := time.Now(), f.others()
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if err := until("all gateways answer by way of the others", 4*time.Minute, func() bool { return f.answering() == len(f.ids) }); err != nil {
		return fmt.Errorf("%w: %d", err, f.answering())
	}
	joined, cost := time.Since(began), f.others()-used
	b.say(row{Figure: "processor time of the others meanwhile", Value: fmt.Sprintf("%.1f ms a gateway that comes", cost.Seconds()*1000/float64(max(gone, 1)))})
	b.say(row{Figure: fmt.Sprintf("a server is killed: its %d gateways go to the others", gone), Value: "all answer after " + joined.Round(100*time.Millisecond).String()})
	if err := f.serve(1); err != nil {
		return err
	}
	return f.catch(b, "a server was killed and is back", time.Now())
}

// others returns the CPU time that the servers other than the victim have used.
func (f *party) others() (all time.Duration) {
	for i, p := range f.servers {
		if u, err := p.usage(); err == nil && i != 1 {
			all += u.cpu
		}
	}
	return all
}

// pause stops the hub for a while with its connections open, like a link that drops everything.
func (f *party) pause(b *bench) error {
	if err := f.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(fleetCut)
	if err := f.signal(syscall.SIGCONT); err != nil {
		return err
	}
	return f.catch(b, fmt.Sprintf("cut for %s", fleetCut), time.Now())
}

// away kills the whole hub, and restarts it later.
func (f *party) away(b *bench) error {
	for _, p := range f.servers {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	time.Sleep(fleetLong)
	began := time.Now()
	for i := range f.servers {
		if err := f.serve(i); err != nil {
			return err
		}
	}
	f.most = 0
	if err := f.catch(b, fmt.Sprintf("whole hub killed, away for %s", fleetLong), began); err != nil {
		return err
	}
	if err := until("each gateway is counted once", 5*time.Minute, func() bool { return f.leafs() == len(f.ids) }); err != nil {
		return fmt.Errorf("%w: %d", err, f.leafs())
	}
	b.say(row{Figure: "connections that the hub counted then", Value: fmt.Sprintf("%d at most; %d after %s", f.most, len(f.ids), time.Since(began).Round(100*time.Millisecond))})
	return nil
}

// catch waits until everything acknowledged so far has arrived, both sourced and by uplink.
func (f *party) catch(b *bench, what string, began time.Time) error {
	want := map[string]uint64{}
	for _, id := range f.ids {
		n, err := acknowledged(filepath.Join(f.dir, "gw", id))
		if err != nil {
			return err
		}
		want[id] = n
	}
	var took [2]time.Duration
	err := until("what was recorded meanwhile is at the hub", 4*time.Minute, func() bool {
		sourced, sent := f.has()
		f.leafs()
		done := true
		for i, have := range []map[string]uint64{sourced, sent} {
			full := len(have) > 0
			for id, n := range want {
				full = full && have[id] >= n
			}
			if full && took[i] == 0 {
				took[i] = time.Since(began)
			}
			done = done && took[i] > 0
		}
		return done
	})
	if err != nil {
		sourced, sent := f.has()
		var short []string
		for _, id := range f.ids {
			if sourced[id] < want[id] || sent[id] < want[id] {
				short = append(short, fmt.Sprintf("%s: %d sourced, %d sent of %d", id, sourced[id], sent[id], want[id]))
			}
		}
		return fmt.Errorf("%s: %w: sourced %s, uplinks %s; %s", what, err, took[0], took[1], strings.Join(short, "; "))
	}
	b.say(row{Figure: what + ": all is there by uplink-nats", Value: "after " + took[1].Round(100*time.Millisecond).String(), Peer: "sourced by the hub: " + took[0].Round(100*time.Millisecond).String()})
	return nil
}

// has returns how many messages of each gateway the hub has, sourced and sent by uplinks.
func (f *party) has() (sourced, sent map[string]uint64) {
	js, err := jetstream.New(f.admin)
	if err != nil {
		return nil, nil
	}
	count := func(stream string, into map[string]uint64) {
		ctx, cancel := context.WithTimeout(f.ctx, 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return
		}
		for subject, n := range info.State.Subjects {
			into[strings.Split(subject, ".")[1]] = n
		}
	}
	sourced, sent = map[string]uint64{}, map[string]uint64{}
	for part := range (len(f.ids) + f.shard - 1) / f.shard {
		count(sourceStream(part), sourced)
	}
	count("SITES", sent)
	return sourced, sent
}

// behind returns how many gateways have records that the hub has not sourced.
func (f *party) behind() (n int, err error) {
	sourced, _ := f.has()
	for _, id := range f.ids {
		want, err := acknowledged(filepath.Join(f.dir, "gw", id))
		if err != nil {
			return len(f.ids), err
		}
		if sourced[id]+2 < want {
			n++
		}
	}
	return n, nil
}
