package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	brokerRounds  = 5
	brokerPayload = 64
	loadTime      = 40 * time.Second
	brokerAhead   = 500 // messages by which publishers may be ahead of the slowest subscriber

	ofMosquitto     = 1.0  // in five of six cases
	ofMosquittoOnce = 0.85 // in the sixth case
	ofMochi         = 0.9
)

// brokerLoad is one pattern of load on a broker.
type brokerLoad struct {
	publishers, subscribers, messages int // messages per publisher
	qos                               byte
}

var loads = []brokerLoad{
	{1, 1, 60_000, 0}, {50, 1, 1200, 0}, {1, 50, 2400, 0},
	{1, 1, 30_000, 1}, {50, 1, 600, 1}, {1, 50, 1200, 1},
}

// throughput is the figure "broker": deliveries per second, beside mosquitto and the bare library.
func throughput(ctx context.Context, b *bench) error {
	names := []string{"gatewayd", "mosquitto", "mochi"}
	all := map[string]*process{}
	for _, name := range names {
		p, err := startBroker(ctx, b, name)
		if err != nil {
			return err
		}
		defer p.end()
		all[name] = p
	}
	settle()
	below := 0
	for _, l := range loads {
		rates := map[string][]float64{}
		for round := range 1 + brokerRounds {
			for _, name := range names {
				rate, err := l.run(ctx, all[name].mqtt)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", name, l, err)
				}
				if round > 0 { // the first round warms up
					rates[name] = append(rates[name], rate)
				}
			}
		}
		ours, mosquitto, mochi := median(rates["gatewayd"]), median(rates["mosquitto"]), median(rates["mochi"])
		limit := ofMosquitto
		if ratio := ours / mosquitto; ratio < ofMosquitto && below == 0 {
			below, limit = 1, ofMosquittoOnce
		}
		b.say(row{
			Figure: "MQTT broker, " + l.String(), Value: fmt.Sprintf("%.0f deliveries/s", ours),
			Peer: fmt.Sprintf("mosquitto %.0f/s", mosquitto), Ratio: ours / mosquitto, Limit: fmt.Sprintf("≥ %.2g×", limit),
		}.above(ours/mosquitto, limit))
		b.say(row{
			Figure: "… of the bare library", Value: fmt.Sprintf("%.0f deliveries/s", ours),
			Peer: fmt.Sprintf("mochi %.0f/s", mochi), Ratio: ours / mochi, Limit: fmt.Sprintf("≥ %.2g×", ofMochi),
		}.above(ours/mochi, ofMochi))
	}
	return nil
}

func (l brokerLoad) String() string {
	return fmt.Sprintf("QoS %d, %d→%d", l.qos, l.publishers, l.subscribers)
}

// run returns deliveries per second.
func (l brokerLoad) run(ctx context.Context, port int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	var subs, pubs []*mqttPeer
	defer func() {
		for _, p := range append(subs, pubs...) {
			_ = p.Close()
		}
	}()
	for i := range l.subscribers {
		p, err := dialMQTT(port, mqttLogin{id: fmt.Sprintf("s%d", i)})
		if err != nil {
			return 0, err
		}
		subs = append(subs, p)
		if err := p.subscribe("load/#", l.qos); err != nil {
			return 0, err
		}
	}
	for i := range l.publishers {
		p, err := dialMQTT(port, mqttLogin{id: fmt.Sprintf("p%d", i)})
		if err != nil {
			return 0, err
		}
		pubs = append(pubs, p)
	}
	total := l.publishers * l.messages
	counts := make([]atomic.Int64, len(subs))
	var wg sync.WaitGroup
	errs := make(chan error, len(subs)+2*len(pubs))
	begin := time.Now()
	for i, p := range subs {
		wg.Go(func() { errs <- p.take(total, &counts[i]) })
	}
	var sent atomic.Int64
	full := func() bool {
		for i := range counts {
			if sent.Load()-counts[i].Load() >= brokerAhead {
				return ctx.Err() == nil
			}
		}
		return false
	}
	for i, p := range pubs {
		wg.Go(func() { errs <- p.publish(l.messages, fmt.Sprint("load/", i), l.qos, &sent, full) })
	}
	stop := context.AfterFunc(ctx, func() {
		for _, p := range append(subs, pubs...) {
			_ = p.Close()
		}
	})
	defer stop()
	wg.Wait()
	took := time.Since(begin)
	close(errs)
	for err := range errs {
		if err != nil {
			return 0, fmt.Errorf("%d of %d were sent, the first subscriber has %d: %w", sent.Load(), total, counts[0].Load(), err)
		}
	}
	return float64(total*len(subs)) / took.Seconds(), nil
}

const brokerConfig = `gateway = "bench"
[bus]
kind = "bus"
listen = "127.0.0.1:%d"
[access]
kind = "access-control"
anonymous = ["all"]
[[access.roles]]
name = "all"
allow = ["#"]
[mqtt]
kind = "mqtt-broker"
listen = "127.0.0.1:%d"
access = "access"
max-clients = 60000
max-clients-per-address = 60000
rate = 0
byte-rate = 0
`

// startBroker starts one of the brokers in a process of its own. The gateway's has guard, access
// and sessions.
func startBroker(ctx context.Context, b *bench, name string) (*process, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, log := filepath.Join(dir, "config"), filepath.Join(dir, "log")
	var command []string
	text := ""
	switch name {
	case "gatewayd":
		bin := filepath.Join(dir, "gatewayd")
		if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
			return nil, err
		}
		file += ".toml"
		text = fmt.Sprintf(brokerConfig, ports[0], ports[1])
		command = []string{bin, "run", "--config", file, "--data", filepath.Join(dir, "data"), "--log", "warn"}
	case "mosquitto":
		text = fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nuser root\n", ports[1])
		command = []string{"mosquitto", "-c", file}
	case "mochi":
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{self, mochiFlag, fmt.Sprint(ports[1])}
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := launch(log, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	p.mqtt = ports[1]
	if err := reachable(p.mqtt, 10*time.Second); err != nil {
		p.end()
		return nil, err
	}
	time.Sleep(time.Second) // until the policy of access is loaded
	return p, nil
}
