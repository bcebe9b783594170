package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	footprintSettle = 8 * time.Second // memory that only the start has needed is returned after 5 s
	tightLimit      = 26 << 20        // bytes of the memory cgroup
	tightSpan       = 8 * time.Second
	tightFaults     = 500 // major faults in that time above which it thrashes
)

// footprint is the figure "footprint": an idle daemon with bus, store and MQTT broker, beside the
// plainest wiring of the same libraries; and both polling in a small memory cgroup.
func footprint(ctx context.Context, b *bench) error {
	ours, plain := filepath.Join(b.dir, "gatewayd"), filepath.Join(b.dir, "naive")
	if err := build(ctx, ours, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	if err := build(ctx, plain, "gatewayd/bench/naive"); err != nil {
		return err
	}
	plc, err := serveModbus(ctx)
	if err != nil {
		return err
	}
	mine, err := startDaemon(filepath.Join(b.dir, "idle"), nil, ours, 0, plc)
	if err != nil {
		return err
	}
	theirs, err := startPlain(filepath.Join(b.dir, "plain"), nil, plain, 0, plc)
	if err != nil {
		mine.end()
		return err
	}
	time.Sleep(footprintSettle)
	m, err := mine.usage()
	n, err2 := theirs.usage()
	mine.end()
	theirs.end()
	if err != nil || err2 != nil {
		return fmt.Errorf("%w; %w", err, err2)
	}
	b.say(row{Figure: "idle daemon: anonymous memory", Value: mb(m.anon), Peer: "naive " + mb(n.anon), Ratio: float64(m.anon) / float64(n.anon), Limit: "≤ 7 MB"}.below(float64(m.anon), 7e6))
	b.say(row{Figure: "idle daemon: RSS", Value: mb(m.rss), Peer: "naive " + mb(n.rss), Ratio: float64(m.rss) / float64(n.rss), Limit: "≤ 28 MB"}.below(float64(m.rss), 28e6))
	return tight(b, ours, plain, plc)
}

// tight runs both in a small memory cgroup, where they poll a few units.
func tight(b *bench, ours, plain, plc string) error {
	const what = "in a memory cgroup of 26 MB"
	said := map[string]string{}
	good := false
	for _, c := range []struct {
		name, bin string
		start     func(dir string, wrap []string, bin string, units int, plc string) (*process, error)
	}{{"gatewayd", ours, startDaemon}, {"naive", plain, startPlain}} {
		g, err := newCgroup(tightLimit)
		if err != nil {
			b.say(row{Figure: what, Value: "left out", Note: err.Error()})
			return nil
		}
		heard, faults, err := tightRun(c.start, filepath.Join(b.dir, "tight-"+c.name), g, c.bin, plc)
		g.remove()
		if err != nil {
			said[c.name] = "does not run"
			continue
		}
		said[c.name] = fmt.Sprintf("%d polls, %d major faults", heard, faults)
		if c.name == "gatewayd" {
			good = heard >= 10*int(tightSpan.Seconds()-1) && faults <= tightFaults
		}
	}
	b.say(row{Figure: what + ", 10 units, 8 s", Value: said["gatewayd"], Peer: "naive " + said["naive"], Limit: "polls go on", Judged: true, Pass: good})
	return nil
}

func tightRun(start func(string, []string, string, int, string) (*process, error), dir string, g *cgroup, bin, plc string) (heard int, faults int64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	own := filepath.Join(dir, "program") // its pages are charged to this cgroup
	text, err := os.ReadFile(bin)
	if err == nil {
		err = os.WriteFile(own, text, 0o755)
	}
	if err == nil {
		err = exec.Command("sync", own).Run()
	}
	if err != nil {
		return 0, 0, err
	}
	p, err := start(dir, []string{"/bin/sh", "-c", "echo $$ > " + g.procs + " && exec \"$@\"", "sh"}, own, 10, plc)
	if err != nil {
		return 0, 0, err
	}
	defer p.end()
	l, err := onMQTT(p.mqtt, "data/field/#", byTopic)
	if err != nil {
		return 0, 0, err
	}
	defer l.closed()
	time.Sleep(2 * time.Second)
	before, err := p.usage()
	if err != nil {
		return 0, 0, err
	}
	l.reset()
	time.Sleep(tightSpan)
	after, err := p.usage()
	return l.heard(), after.faults - before.faults, err
}

// startDaemon starts the gateway with a number of units; wrap is the command that starts it, if
// any.
func startDaemon(dir string, wrap []string, bin string, units int, plc string) (*process, error) {
	ports, err := freePorts(2)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(file, []byte(gatewayConfig(ports[0], ports[1], load{units, everySecond.points, time.Second}, plc)), 0o644); err != nil {
		return nil, err
	}
	return startUntil(ports, filepath.Join(dir, "log"), append(wrap, bin, "run", "--config", file, "--data", filepath.Join(dir, "data"), "--log", "warn"))
}

func startPlain(dir string, wrap []string, bin string, units int, plc string) (*process, error) {
	ports, err := freePorts(2)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	return startUntil(ports, filepath.Join(dir, "log"), append(wrap, bin, filepath.Join(dir, "store"), strconv.Itoa(ports[0]), strconv.Itoa(ports[1]), strconv.Itoa(units), plc))
}

func startUntil(ports []int, log string, command []string) (*process, error) {
	p, err := launch(log, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	if len(ports) > 1 {
		p.mqtt = ports[1]
	}
	for _, port := range ports {
		if err := reachable(port, 10*time.Second); err != nil {
			p.end()
			return nil, err
		}
	}
	return p, nil
}

// cgroup is a cgroup of version 1 or 2 with a memory limit.
type cgroup struct{ dir, procs string }

func newCgroup(limit int) (*cgroup, error) {
	name := "gatewayd-bench-" + strconv.Itoa(os.Getpid())
	dir, file := "/sys/fs/cgroup/memory/"+name, "memory.limit_in_bytes"
	if kinds, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(kinds), "memory") {
		dir, file = "/sys/fs/cgroup/"+name, "memory.max"
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("no memory cgroup can be made: %w", err)
	}
	g := &cgroup{dir, filepath.Join(dir, "cgroup.procs")}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o644); err != nil {
		g.remove()
		return nil, fmt.Errorf("no memory cgroup can be limited: %w", err)
	}
	return g, nil
}

func (g *cgroup) remove() { _ = os.Remove(g.dir) }
