package modbuslink

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/serial"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Settings returns the driver settings for the config of a serial line.
func Settings(cfg *modbusv1.SerialLine) serial.Config {
	s := serial.Config{
		Path: cfg.Port, Baud: int(cfg.Baud), DataBits: int(cfg.DataBits), Parity: cfg.Parity, StopBits: int(cfg.StopBits),
	}
	if s.StopBits == 0 {
		s.StopBits = 1
		if s.Parity == "none" {
			s.StopBits = 2
		}
	}
	if r := cfg.Rs485; r != nil {
		s.RS485 = &serial.RS485{
			RTSOnSend: r.RtsOnSend, RTSAfterSend: r.RtsAfterSend, RxDuringTx: r.RxDuringTx,
			DelayBefore: r.DelayBefore.AsDuration(), DelayAfter: r.DelayAfter.AsDuration(),
		}
	}
	return s
}

// Line returns the time available on the line or link with this config, and whether its polls may
// need more than that (overload = "allow"). ok is false if config is that of any other actor.
func Line(config proto.Message) (line budget.Line, overload, ok bool) {
	switch cfg := config.(type) {
	case *modbusv1.SerialLine:
		char, silence := Timing(cfg)
		return budget.Line{Air: dispatch.Air(char, silence, framingOf(cfg.Framing))}, cfg.Overload == "allow", true
	case *modbusv1.TcpLink:
		line = lineOf(int(cfg.Baud), bitsPerChar, cfg.Framing)
		if line.Air == nil {
			line.InFlight = int(cfg.InFlight)
		}
		return line, cfg.Overload == "allow", true
	case *modbusv1.DtuLink:
		return lineOf(int(cfg.Baud), bitsPerChar, cfg.Framing), cfg.Overload == "allow", true
	}
	return line, false, false
}

// bitsPerChar is assumed for a line of which only the speed is known.
const bitsPerChar = 11

func lineOf(baud, bits int, framing string) budget.Line {
	if baud == 0 {
		return budget.Line{}
	}
	return budget.Line{Air: dispatch.Air(serial.CharTime(baud, bits), serial.Silence(baud), framingOf(framing))}
}

func framingOf(name string) modbus.Framing {
	if name == "ascii" {
		return modbus.ASCII
	}
	return modbus.RTU
}

// Timing returns the duration of a character and of the pause before each frame. Both are 0 if
// the config sets inter-frame-delay = "0s", which stands for a line without a wire.
func Timing(cfg *modbusv1.SerialLine) (char, silence time.Duration) {
	s := Settings(cfg)
	switch {
	case cfg.InterFrameDelay == nil:
		return serial.CharTime(s.Baud, s.BitsPerChar()), serial.Silence(s.Baud)
	case cfg.InterFrameDelay.AsDuration() == 0:
		return 0, 0 // no wire
	}
	return serial.CharTime(s.Baud, s.BitsPerChar()), cfg.InterFrameDelay.AsDuration()
}

// budget answers the method Budget.
func (d *Dispatcher) budget(c *actors.Context, m *modbusv1.BudgetRequest) {
	line, units := d.Load()
	b := budget.Compute(line, units)
	p := d.Overload()
	shed := map[string]bool{}
	for _, key := range p.Shed {
		shed[key] = true
	}
	r := &modbusv1.BudgetResponse{Needed: percent(b.Share), Others: percent(line.Others), Overload: p.Cause}
	if b.Silent.Unit != "" {
		r.Silent = &modbusv1.SilentUnit{Unit: b.Silent.Unit, Needed: percent(b.Silent.Share), Pause: durationpb.New(b.Silent.Pause)}
	}
	for _, u := range b.Units {
		if m.Like != "" && u.Name != m.Like {
			continue
		}
		one := unitBudget(u, shed)
		if n := budget.Room(line, units, *u.Unit, m.Every.AsDuration()); n >= 0 {
			room := uint32(n)
			one.Room = &room
		}
		r.Units = append(r.Units, one)
	}
	if m.Like != "" && len(r.Units) == 0 {
		c.Refuse(actors.Errorf(actors.NotFound, "%s has no unit %q with requests", m.Like, c.Name()))
		return
	}
	c.Reply(r)
}

func unitBudget(u budget.UnitShare, shed map[string]bool) *modbusv1.UnitBudget {
	m := &modbusv1.UnitBudget{Unit: u.Name, Needed: percent(u.Share), Own: percent(u.Own), Latency: rounded(u.Latency), Slack: rounded(u.Slack)}
	for _, g := range u.Groups {
		one := &modbusv1.GroupBudget{
			Group: g.Name, Every: durationpb.New(g.Every), Requests: uint32(len(g.Requests)), Scan: rounded(g.Scan), Needed: percent(g.Share),
			Slack: rounded(g.Slack), Shed: shed[dispatch.PollKey(u.Name, g.Name)],
		}
		if g.Worst > 0 {
			one.Worst = rounded(g.Worst)
		}
		m.Groups = append(m.Groups, one)
	}
	return m
}

// percent returns a share as a percentage, rounded to two decimals.
func percent(share float64) float64 { return math.Round(share*1e4) / 100 }

func rounded(d time.Duration) *durationpb.Duration {
	return durationpb.New(d.Round(10 * time.Microsecond))
}
