package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const (
	silentEvery   = 200 * time.Millisecond // interval of the healthy unit
	silentSettle  = 30 * time.Second       // time limit until the silent units are recognised as such
	silentBackoff = 12 * time.Second       // from then on they are polled less and less often
	silentSpan    = 12 * time.Second
)

// silent is the figure "silent": a healthy unit beside 1, 5 and 20 units that never answer, on an
// RTU line of 19200 baud and behind one TCP host.
func silent(ctx context.Context, b *bench) error {
	f, err := newField(b.dir)
	if err != nil {
		return err
	}
	defer f.close()
	for _, n := range []int{1, 5, 20} {
		name := fmt.Sprintf("line-%d", n)
		l, cfg, err := serialLine(b.dir, name, 19200, 1)
		if err != nil {
			return err
		}
		defer l.Close()
		g := f.plant(name, "serial-line", cfg)
		unit(g, 1, 10, silentEvery)
		addr, err := silentHost(ctx, n)
		if err != nil {
			return err
		}
		h := f.plant(fmt.Sprintf("host-%d", n), "tcp-link", &modbusv1.TcpLink{Address: addr})
		unit(h, 1, 10, silentEvery)
		for i := range n {
			unit(g, uint32(2+i), 10, time.Second)
			unit(h, uint32(2+i), 10, time.Second)
		}
	}
	r, err := f.read()
	if err != nil {
		return err
	}
	if err := f.world.tree.Start(f.tree); err != nil {
		return err
	}
	if err := until("all silent units are known as such", silentSettle, func() bool {
		for _, c := range f.sys.Cells() {
			if c.Kind().Name == "modbus-unit" && c.Token() != "unit-1" && c.State() != actors.Unreachable {
				return false
			}
		}
		return true
	}); err != nil {
		return err
	}
	time.Sleep(silentBackoff)
	r.reset()
	begin := time.Now()
	time.Sleep(silentSpan)
	due := time.Since(begin).Seconds() / silentEvery.Seconds()
	for _, where := range []string{"line", "host"} {
		for _, n := range []int{1, 5, 20} {
			share := float64(r.of(fmt.Sprintf("%s-%d/unit-1", where, n))+1) / due // the window may cut one slot off
			share = min(share, 1)
			b.say(row{Figure: fmt.Sprintf("healthy unit beside %d silent, same %s: rate", n, where), Value: fmt.Sprintf("%.1f %% of nominal", 100*share), Limit: "≥ 99 %"}.above(share, 0.99))
		}
	}
	return nil
}

// silentHost serves a TCP host with unit 1 and n units that carry out requests and never answer.
func silentHost(ctx context.Context, n int) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p := sim.NewPlant()
	for i := range n + 1 {
		d := sim.NewDevice(uint8(1 + i))
		d.Put(sim.HoldingRegisters, 0, make([]uint16, 10)...)
		d.Behave(sim.Behaviour{Silent: i > 0})
		p.Add(d)
	}
	go func() { _ = p.ServeTCP(ctx, l) }()
	return l.Addr().String(), nil
}
