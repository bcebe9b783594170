package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatewayd/protocols/modbus/sim"
)

const (
	pointUnits = 50
	unitPoints = 300
)

// pointMemory is the figure "points": the cost of 15,000 points, from a daemon that polls them
// every second and one that polls a single point. Polling brings pages of the program itself into
// memory, the same ones for any number of points; they are reported separately.
func pointMemory(ctx context.Context, b *bench) error {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d := sim.NewDevice(1)
	begin := time.Now()
	d.Follow(sim.HoldingRegisters, 0, unitPoints, func(a uint16) uint16 { return a + uint16(time.Since(begin).Seconds()) })
	go func() { _ = sim.NewPlant(d).ServeTCP(ctx, l) }()

	idle, _, err := resident(filepath.Join(b.dir, "idle"), bin, "")
	if err != nil {
		return err
	}
	one, _, err := resident(filepath.Join(b.dir, "one"), bin, pointsConfig(1, 1, l.Addr().String()))
	if err != nil {
		return err
	}
	full, heard, err := resident(filepath.Join(b.dir, "full"), bin, pointsConfig(pointUnits, unitPoints, l.Addr().String()))
	if err != nil {
		return err
	}
	const n = pointUnits * unitPoints
	each := float64(full-one) / (n - 1)
	b.say(row{
		Figure: fmt.Sprintf("%d points of %d units at 1 s: RSS of each", n, pointUnits), Value: fmt.Sprintf("%.0f bytes", each), Limit: "≤ 400 bytes",
		Note: fmt.Sprintf("%s without a unit, %s with one of one point, %s with all, of which %d units are heard", mb(idle), mb(one), mb(full), heard),
	}.below(each, 400))
	b.say(row{Figure: "the same with the pages of the program that the first point needs", Value: fmt.Sprintf("%.0f bytes", float64(full-idle)/n)})
	return nil
}

func pointsConfig(units, points int, plc string) string {
	var b strings.Builder
	for i := range units {
		fmt.Fprintf(&b, "[field.u%d.link]\nkind = \"tcp-link\"\naddress = %q\n[field.u%d.unit]\nkind = \"modbus-unit\"\nlink = \"field/u%d/link\"\nunit = 1\nevery = \"1s\"\npoints = [\n", i, plc, i, i)
		for r := range points {
			fmt.Fprintf(&b, "{ name = \"r%d\", address = %d },\n", r, r)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// resident returns the RSS of a settled daemon with these actors, and how many units were heard.
func resident(dir, bin, actors string) (rss int64, units int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return 0, 0, err
	}
	file := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(file, []byte(gatewayConfig(ports[0], ports[1], load{}, "")+actors), 0o644); err != nil {
		return 0, 0, err
	}
	p, err := launch(filepath.Join(dir, "log"), bin, "run", "--config", file, "--data", filepath.Join(dir, "data"), "--log", "warn")
	if err != nil {
		return 0, 0, err
	}
	defer p.end()
	heard, err := listen(ports, "gw."+gateway+".data.field.>", "data/field/#")
	if err != nil {
		return 0, 0, err
	}
	for _, l := range heard {
		defer l.closed()
	}
	time.Sleep(footprintSettle)
	u, err := p.usage()
	heard[1].mu.Lock()
	defer heard[1].mu.Unlock()
	return u.rss, len(heard[1].count), err
}
