package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/mqtt"
)

const (
	pollSpan   = 8 * time.Second
	pollRounds = 2
)

// load is what is polled: a number of units with a number of registers, each register a point.
type load struct {
	units, points int
	every         time.Duration
}

var (
	everySecond  = load{500, 30, time.Second}
	tenPerSecond = load{50, 1000, 100 * time.Millisecond}
)

func (l load) String() string { return fmt.Sprintf("poll %d × %d at %s", l.units, l.points, l.every) }

// least returns how often each unit must be heard in a span, the ends of which may cut some
// messages off.
func (l load) least(span time.Duration) int {
	n := int(span / l.every)
	return n - max(1, n/40)
}

// contestant is one of the programs that are compared.
type contestant struct {
	name  string
	start func(dir string) (p *process, heard []*listener, err error)
	cpu   []float64 // share of a core, per round
	anon  []float64 // bytes
	fault string    // fault of the last round that was not perfect
	load  load

	failed error // why it could not be measured, in two attempts
}

// poll is the figure "poll": 500 units of 30 registers each second, as JSON, to a subscriber on the
// bus and one by MQTT.
func poll(ctx context.Context, b *bench) error { return contest(ctx, b, everySecond, 0.8, 0.3) }

// pollFast is the figure "fast": 50 units of 1,000 registers every 100 ms, to a subscriber by MQTT.
func pollFast(ctx context.Context, b *bench) error { return contest(ctx, b, tenPerSecond, 0.1, 0.1) }

// contest measures all contestants in turns. cpu and memory are the limits relative to Telegraf.
func contest(ctx context.Context, b *bench, l load, cpu, memory float64) error {
	plc, err := serveModbus(ctx)
	if err != nil {
		return err
	}
	ours := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, ours, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	all := []*contestant{{name: "gatewayd", load: l, start: func(dir string) (*process, []*listener, error) { return startGateway(dir, ours, plc, l) }}}
	if l == everySecond { // the only load that naive supports
		plain := filepath.Join(b.dir, "naive")
		if err := build(ctx, plain, "gatewayd/bench/naive"); err != nil {
			return err
		}
		all = append(all, &contestant{name: "naive", load: l, start: func(dir string) (*process, []*listener, error) { return startNaive(dir, plain, plc) }})
	}
	if bin, err := telegraf(ctx); err != nil {
		b.say(row{Figure: l.String() + ": Telegraf is left out", Note: err.Error()})
	} else {
		all = append(all, &contestant{name: "Telegraf", load: l, start: func(dir string) (*process, []*listener, error) { return startTelegraf(ctx, dir, bin, plc, l) }})
	}
	for round := range pollRounds {
		for _, c := range all {
			if c.failed != nil {
				continue
			}
			dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", c.name, round))
			if c.failed = c.round(dir); c.failed != nil { // a single failure may be due to the machine
				c.failed = c.round(dir + "-again")
			}
		}
	}
	if err := all[0].failed; err != nil {
		return fmt.Errorf("%s: %w", all[0].name, err)
	}
	for _, c := range all[1:] {
		if c.failed != nil {
			b.say(row{Figure: l.String() + ": " + c.name + " is left out", Note: c.failed.Error()})
		}
	}
	pollRows(b, slices.DeleteFunc(all, func(c *contestant) bool { return c.failed != nil }), cpu, memory)
	return nil
}

func pollRows(b *bench, all []*contestant, cpuLimit, memoryLimit float64) {
	me := all[0]
	what := me.load.String()
	cpu, anon := median(me.cpu), median(me.anon)
	b.say(row{Figure: what + ": nothing missed", Value: map[bool]string{true: "yes", false: "no"}[me.fault == ""], Note: me.fault, Judged: true, Pass: me.fault == "", Limit: "all heard"})
	for _, c := range all[1:] {
		r, a := cpu/median(c.cpu), anon/median(c.anon)
		cpuRow := row{Figure: what + ": CPU of a core", Value: percent(cpu), Peer: c.name + " " + percent(median(c.cpu)), Ratio: r, Note: c.name + " missed: " + c.fault}
		memRow := row{Figure: what + ": anonymous memory", Value: mb(int64(anon)), Peer: c.name + " " + mb(int64(median(c.anon))), Ratio: a}
		if c.fault == "" {
			cpuRow.Note = ""
		}
		if c.name == "Telegraf" {
			cpuRow, memRow = cpuRow.below(r, cpuLimit), memRow.below(a, memoryLimit)
			cpuRow.Limit, memRow.Limit = fmt.Sprintf("≤ %.3g× Telegraf", cpuLimit), fmt.Sprintf("≤ %.3g× Telegraf", memoryLimit)
			cpuRow.Pass, memRow.Pass = cpuRow.Pass && me.fault == "", memRow.Pass && me.fault == "" // a contestant that delivers less also needs less
		}
		b.say(cpuRow)
		b.say(memRow)
	}
}

func percent(f float64) string { return fmt.Sprintf("%.2f %%", 100*f) }

// round starts a contestant, lets it settle, measures it and stops it.
func (c *contestant) round(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p, heard, err := c.start(dir)
	if p != nil {
		defer p.end()
	}
	for _, l := range heard {
		defer l.closed()
	}
	if err != nil {
		return err
	}
	for _, l := range heard {
		if err := until("all units are heard", time.Minute, func() bool { return l.units() == c.load.units }); err != nil {
			return fmt.Errorf("%w: %s", err, l.verdict(c.load.units, 0))
		}
	}
	c.settle(heard)
	before, err := p.usage()
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(pollSpan)
	after, err := p.usage()
	if err != nil {
		return err
	}
	span := time.Since(begin)
	for i, l := range heard {
		if v := l.verdict(c.load.units, c.load.least(span)); v != "" {
			c.fault = fmt.Sprintf("subscriber %d: %s", i+1, v)
		}
	}
	c.cpu = append(c.cpu, (after.cpu-before.cpu).Seconds()/span.Seconds())
	c.anon = append(c.anon, float64(after.anon))
	return nil
}

// settle waits until the start is over and then a second has passed without a fault, since faults
// during the start do not count. After ten seconds the contestant is measured regardless.
func (c *contestant) settle(heard []*listener) {
	settle()
	for range 10 {
		for _, l := range heard {
			l.reset()
		}
		time.Sleep(time.Second + c.load.every/2)
		if !slices.ContainsFunc(heard, func(l *listener) bool { return l.verdict(c.load.units, 1) != "" }) {
			break
		}
	}
	for _, l := range heard {
		l.reset()
	}
}

// serveModbus serves unit 1 with its registers, for any number of connections.
func serveModbus(ctx context.Context) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	d := sim.NewDevice(1)
	begin := time.Now()
	d.Follow(sim.HoldingRegisters, 0, tenPerSecond.points, func(a uint16) uint16 { return a + uint16(time.Since(begin).Seconds()) })
	go func() { _ = sim.NewPlant(d).ServeTCP(ctx, l) }()
	return l.Addr().String(), nil
}

// gatewayConfig returns the gateway's config. Each unit has a connection of its own.
func gatewayConfig(busPort, mqttPort int, l load, plc string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway = %q\n[bus]\nkind = \"bus\"\nlisten = \"127.0.0.1:%d\"\nanonymous = \"observer\"\n[mqtt]\nkind = \"mqtt-broker\"\nlisten = \"127.0.0.1:%d\"\n", gateway, busPort, mqttPort)
	for i := range l.units {
		fmt.Fprintf(&b, "[field.u%d.link]\nkind = \"tcp-link\"\naddress = %q\n[field.u%d.unit]\nkind = \"modbus-unit\"\nlink = \"field/u%d/link\"\nunit = 1\nevery = %q\npoints = [\n", i, plc, i, i, l.every.String())
		for r := range l.points {
			fmt.Fprintf(&b, "{ name = \"r%d\", address = %d },\n", r, r)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

func startGateway(dir, bin, plc string, l load) (*process, []*listener, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(file, []byte(gatewayConfig(ports[0], ports[1], l, plc)), 0o644); err != nil {
		return nil, nil, err
	}
	p, err := launch(filepath.Join(dir, "log"), bin, "run", "--config", file, "--data", filepath.Join(dir, "data"), "--log", "warn")
	if err != nil {
		return nil, nil, err
	}
	heard, err := listen(ports, "gw."+gateway+".data.field.>", "data/field/#")
	if err == nil && l == tenPerSecond { // compared with contestants that have one subscriber
		heard[0].closed()
		heard = heard[1:]
	}
	return p, heard, err
}

func startNaive(dir, bin, plc string) (*process, []*listener, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, nil, err
	}
	p, err := launch(filepath.Join(dir, "log"), bin, filepath.Join(dir, "store"), strconv.Itoa(ports[0]), strconv.Itoa(ports[1]), strconv.Itoa(everySecond.units), plc)
	if err != nil {
		return nil, nil, err
	}
	heard, err := listen(ports, "data.field.>", "data/field/#")
	return p, heard, err
}

// listen connects one subscriber on the bus and one by MQTT.
func listen(ports []int, pattern, filter string) (heard []*listener, err error) {
	for _, port := range ports {
		if err := reachable(port, 15*time.Second); err != nil {
			return nil, err
		}
	}
	bus, err := onBus("nats://127.0.0.1:"+strconv.Itoa(ports[0]), pattern)
	if err != nil {
		return nil, err
	}
	broker, err := onMQTT(ports[1], filter, byTopic)
	if err != nil {
		bus.closed()
		return nil, err
	}
	return []*listener{bus, broker}, nil
}

// startTelegraf starts Telegraf with a broker in this process, so that the broker costs Telegraf
// nothing.
func startTelegraf(_ context.Context, dir, bin, plc string, l load) (*process, []*listener, error) {
	broker, err := mqtt.Start(mqtt.Config{Listen: "127.0.0.1:0", Authenticate: mqtt.AllowAnyone, Authorize: func(mqtt.ClientInfo, string, bool) bool { return true }})
	if err != nil {
		return nil, nil, err
	}
	port := broker.Addr().(*net.TCPAddr).Port
	heard, err := onMQTT(port, "telegraf", byTag)
	if err != nil {
		return nil, nil, err
	}
	hangUp := heard.closed
	heard.closed = func() {
		hangUp()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = broker.Close(ctx)
	}
	file := filepath.Join(dir, "telegraf.conf")
	if err := os.WriteFile(file, []byte(telegrafConfig(plc, port, l)), 0o644); err != nil {
		return nil, []*listener{heard}, err
	}
	p, err := launch(filepath.Join(dir, "log"), bin, "--config", file)
	return p, []*listener{heard}, err
}
