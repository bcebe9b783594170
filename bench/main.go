// Command bench measures the performance figures of the gateway and prints one table: each figure
// with its limit, and with a peer measured in the same run where there is one. README.md tells how
// each is measured.
//
//	go run ./bench            all figures but those that must be named
//	go run ./bench crash poll only these
//
// It is not a test: on a busy machine speed proves nothing, only ratios do.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure is one measurement. It runs in a process of its own, free of the heap and goroutines of
// others.
type figure struct {
	name  string
	about string
	limit time.Duration // after which it is aborted
	run   func(ctx context.Context, b *bench) error
}

// onRequest are the figures that run only if they are named.
var onRequest = []figure{
	{"torture", "what anybody might do to the MQTT broker", 600 * time.Second, torture},
	{"fleet", "200 gateways at a hub of three servers", 15 * time.Minute, fleet},
	{"cuts", "gateways whose packets do not arrive", 15*time.Minute + cutLonger(), cuts},
}

var figures = []figure{
	{"footprint", "memory of an idle daemon", 90 * time.Second, footprint},
	{"start", "process start to first sample", 30 * time.Second, firstSample},
	{"points", "memory of 15,000 points", 60 * time.Second, pointMemory},
	{"poll", "500 Modbus TCP units to bus and MQTT", 240 * time.Second, poll},
	{"fast", "50 Modbus TCP units of 1,000 registers to MQTT", 200 * time.Second, pollFast},
	{"line", "use of an RTU line", 90 * time.Second, lineUse},
	{"reads", "requests for the points of all profiles", 40 * time.Second, coalescing},
	{"rtu", "CPU of an RTU transaction", 60 * time.Second, rtuCost},
	{"tcp", "one Modbus TCP connection to a fast server", 60 * time.Second, tcpClient},
	{"silent", "healthy unit beside silent ones", 60 * time.Second, silent},
	{"write", "write latency under full poll load", 60 * time.Second, writeLatency},
	{"crash", "crash to the next life", 40 * time.Second, crash},
	{"server", "masters of the Modbus server", 90 * time.Second, serverRate},
	{"shared", "masters that share a line", 60 * time.Second, sharedLine},
	{"crowd", "polling beside 500 masters", 60 * time.Second, crowdedPolling},
	{"cookie", "the cookie protocol through our broker", 60 * time.Second, cookie},
	{"calls", "calls through HTTP and NATS", 90 * time.Second, callDoors},
	{"mqtt-call", "a call through MQTT", 120 * time.Second, mqttCall},
	{"broker", "throughput of the MQTT broker", 300 * time.Second, throughput},
	{"sessions", "memory of idle MQTT clients", 240 * time.Second, sessions},
	{"revoke", "a revoked identity is cut off", 120 * time.Second, revoke},
	{"mdi", "bytes of a record by uplink-mdi", 30 * time.Second, mdiSize},
	{"contract", "cost of host and bus per message", 60 * time.Second, contract},
	{"store", "records of tracks to disk", 60 * time.Second, storeRates},
	{"drain", "an uplink that catches up", 150 * time.Second, drain},
	{"dead-uplink", "two uplinks beside a dead one", 150 * time.Second, deadUplink},
	{"uplinks-idle", "uplinks with nothing to send", 120 * time.Second, uplinksIdle},
	{"idle", "10,000 idle actors", 60 * time.Second, idle},
	{"fleet-sim", "fleets up to 100,000 gateways, on paper", 60 * time.Second, fleetSim},
}

// childFlag makes a process measure one figure and write its rows.
const childFlag = "--figure"

func main() {
	if len(os.Args) == 4 && os.Args[1] == childFlag {
		child(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) == 3 && os.Args[1] == bareFlag {
		fmt.Fprintln(os.Stderr, bareServer(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == echoFlag {
		fmt.Fprintln(os.Stderr, echoServer(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == mochiFlag {
		fmt.Fprintln(os.Stderr, bareMochi(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 5 && os.Args[1] == attackFlag {
		if err := attack(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == hubFlag {
		fmt.Fprintln(os.Stderr, hubServer(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 7 && os.Args[1] == siteFlag {
		fmt.Fprintln(os.Stderr, site(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) == 5 && os.Args[1] == rtuFlag {
		if err := rtuPolls(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == storeFlag {
		tracks, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = storeChild(os.Args[2], tracks)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	chosen, err := choose(os.Args[1:])
	if err == nil {
		err = all(chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func choose(names []string) ([]figure, error) {
	if len(names) == 0 {
		return figures, nil
	}
	var chosen []figure
	for _, name := range names {
		f, ok := find(name)
		if !ok {
			var known []string
			for _, f := range append(slices.Clone(figures), onRequest...) {
				known = append(known, f.name)
			}
			return nil, fmt.Errorf("no figure is called %q; there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, f)
	}
	return chosen, nil
}

func find(name string) (figure, bool) {
	for _, f := range append(slices.Clone(figures), onRequest...) {
		if f.name == name {
			return f, true
		}
	}
	return figure{}, false
}

// all measures one figure after the other and prints each as soon as it is known.
func all(chosen []figure) error {
	dir, err := os.MkdirTemp("", "gatewayd-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	begin, t := time.Now(), table{}
	t.head()
	for _, f := range chosen {
		rows, err := measure(f, filepath.Join(dir, f.name))
		for _, r := range rows {
			t.row(r)
		}
		if err != nil {
			t.row(row{Figure: f.about, Value: "not measured", Note: err.Error()})
		}
	}
	t.foot(time.Since(begin))
	return nil
}

// measure runs one figure in a child process.
func measure(f figure, dir string) (rows []row, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.limit+5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, childFlag, f.name, dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err = cmd.Run()
	for dec := json.NewDecoder(&out); ; {
		var r row
		if dec.Decode(&r) != nil {
			break
		}
		rows = append(rows, r)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not done within %s", f.limit)
	}
	return rows, err
}

func child(name, dir string) {
	f, ok := find(name)
	if !ok {
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.limit)
	defer cancel()
	b := &bench{dir: dir, out: json.NewEncoder(os.Stdout)}
	done, err := profile(name)
	if err == nil {
		err = f.run(ctx, b)
		done()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %s", f.limit)
	}
	if err != nil {
		b.say(row{Figure: f.about, Value: "not measured", Note: err.Error()})
	}
}

// bench is what a figure works with.
type bench struct {
	dir string // scratch directory, empty at first
	out *json.Encoder
}

func (b *bench) say(r row) { _ = b.out.Encode(r) }
