package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/uplinkmqtt"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/record"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
	"gatewayd/supervisor/config"
)

const (
	drainRecords = 1_000_000
	drainChunk   = 500
	drainTracks  = 10

	cachesExpire = 25 * time.Second // until the store's caches of what was just written expire, with some margin
)

// drain is the figure of an uplink that catches up: a backlog of a million records, sent to a local
// mosquitto at QoS 1.
func drain(ctx context.Context, b *bench) error {
	address, stop, err := localBroker(b.dir)
	if err != nil {
		return err
	}
	defer stop()
	debug.SetGCPercent(25) // as in the daemon
	w, err := newWorldOf(b.dir, 512<<20, uplinkmqtt.Kind)
	if err != nil {
		return err
	}
	defer w.close()
	if err := fillTracks(w, drainRecords); err != nil {
		return err
	}
	time.Sleep(cachesExpire)
	live()
	debug.FreeOSMemory()
	before, err := usageOf("self")
	if err != nil {
		return err
	}
	cfg := forest(0, 0, "")
	cfg.Root.Children = append(cfg.Root.Children, uplinkNode("uplinks/drain", "tcp://"+address))
	began := time.Now()
	if err := w.tree.Start(cfg); err != nil {
		return err
	}
	if err := until("an uplink", 30*time.Second, func() bool { _, err := uplinkStatus(ctx, w, "uplinks/drain"); return err == nil }); err != nil {
		return err
	}
	peak := before.rss
	var s *uplinkv1.Status
	for s == nil || s.Counts.GetAcknowledged() < drainRecords {
		if s, err = uplinkStatus(ctx, w, "uplinks/drain"); err != nil {
			return err
		}
		if u, err := usageOf("self"); err == nil {
			peak = max(peak, u.rss)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records: %w", s.GetCounts().GetAcknowledged(), drainRecords, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	took := time.Since(began)
	rate := float64(drainRecords) / took.Seconds()
	b.say(row{
		Figure: "backlog of a million records to mosquitto, QoS 1", Value: fmt.Sprintf("%.0f records/s", rate), Limit: "≥ 20,000 records/s",
	}.above(rate, 20_000))
	b.say(row{Figure: "memory above idle meanwhile", Value: mb(peak - before.rss), Limit: "≤ 20 MB"}.below(float64(peak-before.rss), 20e6))
	return nil
}

func uplinkNode(path, url string) *config.Node {
	c := &uplinkv1.UplinkMqtt{Url: url, Send: &uplinkv1.Sending{Flush: durationpb.New(100 * time.Millisecond)}}
	schemas.Defaults(c)
	g := group(filepath.Dir(path))
	g.Children = []*config.Node{{Path: path, Kind: "uplink-mqtt", Config: c}}
	return g
}

func uplinkStatus(ctx context.Context, w *world, path string) (*uplinkv1.Status, error) {
	m := &uplinkv1.StatusResponse{}
	err := w.bus.Conn().Call(ctx, bus.Subject(gateway, bus.Cmd, path, "Status"), &uplinkv1.StatusRequest{}, m)
	return m.Status, err
}

// fillTracks stores n records of three fields, spread over drainTracks tracks.
func fillTracks(w *world, n int) error {
	for i := range n / drainChunk {
		track := fmt.Sprintf("tracks/meter-%d", i%drainTracks)
		first := uint64(i/drainTracks*drainChunk + 1)
		c := record.Chunk{Track: track, Number: uint32(i%drainTracks + 1), First: first, Count: drainChunk, Boot: "bench"}
		for k := range uint64(drainChunk) {
			s := first + k
			c.Records = append(c.Records, record.Record{
				Track: track, Sequence: s, Boot: "bench", Time: time.Unix(1_800_000_000+int64(s), 0), Trusted: true, Uptime: time.Duration(s) * time.Second,
				Fields: []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s%1000) / 10}, {Name: "voltage", ID: 2, Unit: "V", Value: 230 + float64(s%50)/10}, {Name: "energy", ID: 3, Unit: "kWh", Value: s}},
			})
		}
		p, err := record.Encode(&c)
		if err != nil {
			return err
		}
		one := make(chan error, 1)
		w.bus.Conn().Keep(bus.Subject(gateway, bus.Track, track, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { one <- err })
		if i%drainTracks == drainTracks-1 || i == n/drainChunk-1 {
			if err := <-one; err != nil {
				return err
			}
		}
	}
	return nil
}

// localBroker starts Debian's mosquitto on a port of its own.
func localBroker(dir string) (address string, stop func(), err error) {
	port, err := freeport.Find()
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	text := "user root\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\nlistener " + strconv.Itoa(port) + " 127.0.0.1\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("/usr/sbin/mosquitto", "-c", file)
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("mosquitto: %w: apt-get install -y mosquitto", err)
	}
	return "127.0.0.1:" + strconv.Itoa(port), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}
