package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/serial/line"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor/config"
)

const (
	sharedSpan    = 5 * time.Second
	sharedBaud    = 115200
	unpacedRounds = 3
	unpacedRatio  = 20 // relative to mbusd
)

// sharedLine is the figure "shared": how much of a paced line 50 masters get through the gateway,
// and how fast they are on a line without delay.
func sharedLine(_ context.Context, b *bench) error {
	w, l, port, err := gatewayOn(b, "shared", line.Options{}, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	defer w.close()
	before := l.Stats()
	rate, err := crowdRate(port, sharedSpan)
	if err != nil {
		return err
	}
	early := l.Stats().Violations - before.Violations
	share := rate * onWire(sharedBaud, crowdRegs).Seconds()
	r := row{
		Figure: "gateway TCP to RTU 115200, 50 masters: share", Value: fmt.Sprintf("%.1f %%, %d too early", 100*share, early), Limit: "≥ 95 %, 0 too early",
	}.above(share, 0.95)
	r.Pass = r.Pass && early == 0
	b.say(r)
	return unpacedLine(b)
}

// unpacedLine uses a line without any delay: what remains is the time of the gateway itself and the
// silences it keeps.
func unpacedLine(b *bench) error {
	w, l, port, err := gatewayOn(b, "unpaced", line.Options{Unpaced: true}, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	defer w.close()
	r := row{Figure: "gateway TCP to RTU, unpaced, 50 masters", Limit: fmt.Sprintf("≥ %d of it", unpacedRatio)}
	peer, end, err := mbusd(b)
	if err != nil {
		return err
	}
	defer end()
	var ours, theirs []float64
	for range unpacedRounds {
		n, err := crowdRate(port, crowdSpan)
		if err != nil {
			return err
		}
		ours = append(ours, n)
		if peer == 0 {
			continue
		}
		if n, err = crowdRate(peer, crowdSpan); err != nil {
			return fmt.Errorf("mbusd: %w", err)
		}
		theirs = append(theirs, n)
	}
	r.Value = fmt.Sprintf("%.0f /s", median(ours))
	if peer == 0 {
		r.Peer = "mbusd is not installed"
	} else {
		r.Ratio = median(ours) / median(theirs)
		r.Peer = fmt.Sprintf("mbusd -R 1 %.0f /s", median(theirs))
		r = r.above(r.Ratio, unpacedRatio)
	}
	b.say(r)
	return nil
}

// gatewayOn starts a gateway in front of a line with units that answer at once, and with what more
// adds.
func gatewayOn(b *bench, name string, opts line.Options, more func(f *field, g *config.Node)) (w *world, l *line.Line, port int, err error) {
	l, cfg, err := lineOf(b.dir, name, sharedBaud, 247, opts)
	if err != nil {
		return nil, nil, 0, err
	}
	if opts.Unpaced {
		cfg.InterFrameDelay = durationpb.New(0)
	}
	if port, err = freeport.Find(); err != nil {
		return nil, nil, 0, err
	}
	if w, err = newWorld(filepath.Join(b.dir, name+"-world"), modbusunit.Kind, serialline.Kind, modbusgateway.Kind); err != nil {
		return nil, nil, 0, err
	}
	f := &field{w, forest(0, 0, "")}
	g := f.plant(name, "serial-line", cfg)
	gate := &modbusv1.Gateway{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + strconv.Itoa(port)}}, MaxMasters: 1000, MaxMastersPerAddress: 1000,
		Routes: []*modbusv1.Route{{First: 1, Link: name + "/link"}},
	}
	schemas.Defaults(gate)
	g.Children = append(g.Children, &config.Node{Path: name + "/gateway", Kind: "modbus-gateway", Config: gate})
	if more != nil {
		more(f, g)
	}
	if err = w.tree.Start(f.tree); err == nil {
		err = reachable(port, 10*time.Second)
	}
	return w, l, port, err
}

// mbusd starts mbusd in front of a line like ours. port is 0 if it is not installed: there is no
// Debian package of it.
func mbusd(b *bench) (port int, end func(), err error) {
	program, err := exec.LookPath("mbusd")
	if err != nil {
		return 0, func() {}, nil
	}
	l, _, err := lineOf(b.dir, "mbusd", sharedBaud, 247, line.Options{Unpaced: true})
	if err != nil {
		return 0, nil, err
	}
	if port, err = freeport.Find(); err != nil {
		return 0, nil, err
	}
	p, err := launch(filepath.Join(b.dir, "mbusd.log"), program, "-d", "-L", "-", "-v", "1", "-p", l.Path(), "-s", strconv.Itoa(sharedBaud), "-m", "8e1",
		"-A", "127.0.0.1", "-P", strconv.Itoa(port), "-C", strconv.Itoa(2*crowd), "-R", "1")
	if err != nil {
		return 0, nil, err
	}
	return port, func() { p.end(); _ = l.Close() }, reachable(port, 10*time.Second)
}
