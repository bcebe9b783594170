package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"gatewayd/bus"
)

const (
	starts     = 5
	busStarts  = 11
	startEvery = 20 * time.Millisecond // poll interval: the sample that is heard may be this much later than the first one
)

// firstSample is the figure "start": the time from the start of the process to the first sample
// received by a client of the bus.
func firstSample(ctx context.Context, b *bench) error {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	plc, err := serveModbus(ctx)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range starts {
		d, err := oneStart(filepath.Join(b.dir, strconv.Itoa(i)), bin, plc)
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	first := median(took)
	b.say(row{Figure: "process start to first sample on the bus", Value: fmt.Sprintf("%.0f ms", ms(first)), Limit: "< 300 ms"}.below(ms(first), 300))
	empty, err := emptyBus(b)
	if err != nil {
		return err
	}
	b.say(row{Figure: "start of the bus on an empty directory", Value: fmt.Sprintf("%.0f ms", ms(empty)), Limit: "< 50 ms"}.below(ms(empty), 50))
	return nil
}

// emptyBus returns how long the bus takes to start with an empty store.
func emptyBus(b *bench) (time.Duration, error) {
	var took []time.Duration
	for i := range busStarts {
		cfg := bus.Config{Gateway: gateway, Dir: filepath.Join(b.dir, fmt.Sprint("bus-", i), "bus"), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
		begin := time.Now()
		one, err := bus.Start(cfg)
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
		one.Close()
	}
	return median(took), nil
}

func oneStart(dir, bin, plc string) (time.Duration, error) {
	ports, err := freePorts(2)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return 0, err
	}
	file := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(file, []byte(gatewayConfig(ports[0], ports[1], load{1, everySecond.points, startEvery}, plc)), 0o644); err != nil {
		return 0, err
	}
	begin := time.Now()
	p, err := launch(filepath.Join(dir, "log"), bin, "run", "--config", file, "--data", filepath.Join(dir, "data"), "--log", "warn")
	if err != nil {
		return 0, err
	}
	defer p.end()
	var nc *nats.Conn
	if err := until("the bus listens", 10*time.Second, func() bool {
		nc, err = nats.Connect("nats://127.0.0.1:" + strconv.Itoa(ports[0]))
		return err == nil
	}); err != nil {
		return 0, err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("gw." + gateway + ".data.>")
	if err != nil {
		return 0, err
	}
	_, err = sub.NextMsg(10 * time.Second)
	return time.Since(begin), err
}
