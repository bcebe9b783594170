package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/device"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/clock"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

// simulation is a set of simulated devices and the ways to reach them.
type simulation struct {
	units, profile, listen, pty, port, framing, parity string
	faults                                             []string
	baud                                               int
	unpaced                                            bool
	seed                                               uint64
	out                                                io.Writer

	addresses []uint8
}

// build makes the devices and what lets their values move.
func (s *simulation) build() (*sim.Plant, []*sim.Life, error) {
	var err error
	if s.addresses, err = device.ParseUnits(s.units, 255); err != nil {
		return nil, nil, err
	}
	behaviours, err := s.behaviours(s.addresses)
	if err != nil {
		return nil, nil, err
	}
	equip := generic
	if s.profile != "" {
		if equip, err = profiled(s.profile); err != nil {
			return nil, nil, err
		}
	}
	plant := sim.NewPlant()
	var lives []*sim.Life
	for _, u := range s.addresses {
		d := sim.NewDevice(u)
		life, err := equip(d)
		if err != nil {
			return nil, nil, err
		}
		d.Behave(behaviours[u])
		plant.Add(d)
		lives = append(lives, life)
	}
	return plant, lives, nil
}

// generic equips a device without a profile.
func generic(d *sim.Device) (*sim.Life, error) {
	const n = 100
	for i := range uint16(n) {
		d.Put(sim.HoldingRegisters, i, i)
	}
	d.Put(sim.Coils, 0, make([]uint16, n)...)
	d.Identity(map[uint8]string{0: "gatewayd", 1: "sim", 2: actors.Build()})
	told(d, "gatewayd sim")
	d.Queue(0, 1, 2, 3)
	records := make([]uint16, n)
	for i := range records {
		records[i] = uint16(i)
	}
	d.File(1, records...)
	var moving []points.Point
	for i := range uint16(n) {
		moving = append(moving,
			points.Point{Name: fmt.Sprint("input-", i), Area: points.Input, Address: i, Type: points.Uint16, Unit: "W"},
			points.Point{Name: fmt.Sprint("bit-", i), Area: points.DiscreteInput, Address: i, Type: points.Bool})
	}
	return sim.NewLife(d, moving, points.Limits{})
}

// told sets the answer of a device to function 17: its unit as the ID, that it runs, and what it
// is.
func told(d *sim.Device, what string) {
	d.ServerID(append([]byte{d.Unit(), 0xff}, what[:min(len(what), 200)]...)...)
}

// profiled returns a function that equips a device by a profile. Such devices are recognised by the
// identification marks of the profile.
func profiled(name string) (func(*sim.Device) (*sim.Life, error), error) {
	p, err := device.Profile(name)
	if err != nil {
		return nil, err
	}
	known, err := modbusunit.ProfileKnown(p)
	if err != nil {
		return nil, exit.Usage("profile %s: %v", name, err)
	}
	return func(d *sim.Device) (*sim.Life, error) {
		life, err := sim.NewLife(d, known.Points, known.Limits)
		if err != nil {
			return nil, fmt.Errorf("profile %s: %w", name, err)
		}
		d.Identity(map[uint8]string{0: p.Vendor, 1: p.Model, 2: "simulated"})
		told(d, p.Vendor+" "+p.Model)
		if len(p.Identify) == 0 {
			return life, nil
		}
		mark := p.Identify[0]
		if mark.VendorName != "" || mark.ProductCode != "" {
			d.Identity(map[uint8]string{0: mark.VendorName, 1: mark.ProductCode, 2: "simulated"})
		}
		table := sim.HoldingRegisters
		if mark.Area == "input" {
			table = sim.InputRegisters
		}
		for i, v := range mark.Values {
			d.Put(table, uint16(int(mark.Address)+i), uint16(v))
		}
		return life, nil
	}, nil
}

// pulse is how often the values move.
const pulse = time.Second

// live updates the values until ctx ends.
func (s *simulation) live(ctx context.Context, lives []*sim.Life) {
	begin := time.Now()
	clock.Regularly(ctx, pulse, func(now time.Time) {
		for _, l := range lives {
			l.Pass(now, now.Sub(begin))
		}
	})
}

// way is one way to reach the devices.
type way struct {
	what  string // for people
	serve func(context.Context, *sim.Plant) error
	close func()
}

// open opens all ways that the flags ask for.
func (s *simulation) open() (ways []way, err error) {
	defer func() {
		if err != nil {
			for _, w := range ways {
				w.close()
			}
		}
	}()
	if s.pty == "" && s.port == "" && (s.baud != 0 || s.unpaced) {
		return nil, exit.Usage("--baud and --unpaced are for serial lines: add --pty or --port")
	}
	if s.listen == "" && s.pty == "" && s.port == "" {
		s.listen = simAddress
	}
	framings, ok := map[string][2]modbus.Framing{
		"": {modbus.TCP, modbus.RTU}, "rtu": {modbus.RTUOverTCP, modbus.RTU}, "ascii": {modbus.ASCIIOverTCP, modbus.ASCII},
	}[s.framing]
	if !ok {
		return nil, exit.Usage("--framing %q: want rtu or ascii", s.framing)
	}
	for _, one := range []struct {
		wanted bool
		open   func(modbus.Framing) (way, error)
		f      modbus.Framing
	}{{s.listen != "", s.onTCP, framings[0]}, {s.pty != "", s.onPTY, framings[1]}, {s.port != "", s.onPort, framings[1]}} {
		if !one.wanted {
			continue
		}
		w, err := one.open(one.f)
		if err != nil {
			return ways, err
		}
		ways = append(ways, w)
	}
	return ways, nil
}

func (s *simulation) onTCP(f modbus.Framing) (way, error) {
	l, err := net.Listen("tcp", s.listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return way{}, fmt.Errorf("%s is in use: choose another with --listen", s.listen)
	case errors.Is(err, syscall.EACCES):
		return way{}, fmt.Errorf("%s: ports below 1024 need root: choose another with --listen", s.listen)
	case err != nil:
		return way{}, exit.Usage("--listen %s: %v", s.listen, err)
	}
	return way{
		what:  fmt.Sprintf("%s %s", f, l.Addr()),
		serve: func(ctx context.Context, p *sim.Plant) error { return p.Serve(ctx, l, f) },
		close: func() { _ = l.Close() },
	}, nil
}

func (s *simulation) onPTY(f modbus.Framing) (way, error) {
	if s.baud != 0 && (s.baud < serial.MinBaud || s.baud > serial.MaxBaud) {
		return way{}, exit.Usage("--baud %d is not within %d to %d", s.baud, serial.MinBaud, serial.MaxBaud)
	}
	dir, name, remove := filepath.Dir(s.pty), filepath.Base(s.pty), func() {}
	if s.pty == anywhere {
		var err error
		if dir, err = os.MkdirTemp("", "gatewayd-sim-"); err != nil {
			return way{}, err
		}
		name, remove = "line", func() { _ = os.RemoveAll(dir) }
	} else if info, err := os.Lstat(s.pty); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return way{}, exit.Usage("--pty=%s already exists", s.pty)
	}
	wire, err := line.New(line.Options{Dir: dir, Name: name, Baud: s.baud, Unpaced: s.unpaced, Seed: s.seed})
	if err != nil {
		remove()
		return way{}, fmt.Errorf("--pty: %w", err)
	}
	tap := wire.Tap()
	return way{
		what:  fmt.Sprintf("%s on pty %s", f, wire.Path()),
		serve: func(ctx context.Context, p *sim.Plant) error { return p.ServeStream(ctx, tap, f) },
		close: func() { _ = wire.Close(); remove() },
	}, nil
}

func (s *simulation) onPort(f modbus.Framing) (way, error) {
	cfg := serial.Config{Path: s.port, Baud: s.baud, Parity: s.parity, StopBits: 1}
	if cfg.Baud == 0 {
		cfg.Baud = 19200
	}
	if cfg.Parity == "none" {
		cfg.StopBits = 2
	}
	if err := cfg.Check(); err != nil {
		return way{}, exit.Usage("%v", err)
	}
	port, err := serial.Open(cfg)
	if err != nil {
		return way{}, err
	}
	return way{
		what:  fmt.Sprintf("%s on %s %d %s", f, s.port, cfg.Baud, cfg.Parity),
		serve: func(ctx context.Context, p *sim.Plant) error { return p.ServeStream(ctx, port, f) },
		close: func() { _ = port.Close() },
	}, nil
}

// tell prints the devices, then the ways to reach them, one per line.
func (s *simulation) tell(ways []way) {
	profile := ""
	if s.profile != "" {
		profile = " (" + s.profile + ")"
	}
	fmt.Fprintf(s.out, "%s: %s%s\n", terminal.Counted(len(s.addresses), "simulated unit"), device.UnitsText(s.addresses), profile)
	for _, w := range ways {
		fmt.Fprintln(s.out, w.what)
	}
}
