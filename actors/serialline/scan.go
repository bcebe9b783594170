package serialline

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/scan"
	"gatewayd/protocols/serial"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// resume reports that a scan which had the line to itself has given it back.
type resume struct{}

// scan looks for units: between the polls, or at other settings while the line is suspended.
func (l *line) scan(c *actors.Context, m *modbusv1.ScanRequest) {
	if !m.Suspend && len(m.Bauds)+len(m.Parities) == 0 {
		l.dispatcher.Answer(c, m)
		l.next(c)
		return
	}
	cfg, err := modbuslink.SweepOf(m)
	settings, bad := l.variants(m)
	switch {
	case err != nil:
		c.Refuse(err)
	case bad != nil:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", bad))
	case !m.Suspend:
		c.Refuse(actors.Errorf(actors.FailedPrecondition, "bauds and parities need suspend: no unit is polled while other settings are tried"))
	case l.port == nil || l.tuning || l.changed:
		c.Refuse(actors.Errorf(actors.Unavailable, "the line is not ready: %s", cmp.Or(l.dispatcher.Cause(), "its port is being configured")))
	default:
		l.suspend(c, &sweeper{line: l.ear(), settings: settings, config: cfg, free: c.Post()})
	}
}

// variants returns the settings that a scan tries.
func (l *line) variants(m *modbusv1.ScanRequest) (all []serial.Config, err error) {
	bauds, parities := m.Bauds, m.Parities
	if len(bauds) == 0 {
		bauds = []uint32{l.cfg.Baud}
	}
	if len(parities) == 0 {
		parities = []string{l.cfg.Parity}
	}
	for _, baud := range bauds {
		for _, parity := range parities {
			cfg := proto.CloneOf(l.cfg)
			cfg.Baud, cfg.Parity = baud, parity
			s := modbuslink.Settings(cfg)
			if err := s.Check(); err != nil {
				return nil, fmt.Errorf("bauds, parities: %w", err)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

const suspended = "suspended while it is scanned for units at other settings"

// suspend hands the port over to the sweeper until it gives it back.
func (l *line) suspend(c *actors.Context, s *sweeper) {
	l.tuning = true
	l.nudge.Stop()
	l.dispatcher.Down("line " + suspended)
	l.say(c, suspended)
	c.Stream(s)
}

// resume restores the configured settings.
func (l *line) resume(c *actors.Context) error {
	l.tuning, l.changed = false, true
	l.apply(c)
	return nil
}

// ear returns the access to the port that a sweeper needs outside the actor.
func (l *line) ear() ear {
	framing := modbus.RTU
	if l.cfg.Framing == "ascii" {
		framing = modbus.ASCII
	}
	return ear{port: l.port, framing: framing, tap: l.dispatcher.Tap}
}

type ear struct {
	port    *port
	framing modbus.Framing
	tap     *modbus.Tap
}

// sweeper is the stream of results of a scan, one setting after the other. It has the port to
// itself and leaves it at the last setting.
type sweeper struct {
	line     ear
	settings []serial.Config
	config   scan.Config
	free     func(any) error

	at    int // index of the current setting
	sweep *scan.Sweep
	link  *modbus.Link
}

// Next implements actors.Source.
func (s *sweeper) Next(ctx context.Context) (proto.Message, error) {
	s.line.port.Use.Lock() // wait for the transaction under way
	defer s.line.port.Use.Unlock()
	for ctx.Err() == nil {
		if s.sweep == nil {
			if s.at == len(s.settings) {
				return nil, io.EOF
			}
			if err := s.tune(); err != nil {
				return nil, err
			}
			return s.told(nil), nil
		}
		r, ok := s.sweep.Next()
		if !ok {
			s.sweep = nil
			s.at++
			continue
		}
		began := time.Now()
		answer, err := s.link.Do(ctx, r)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if modbus.LinkLost(err) {
			return nil, actors.Errorf(actors.Unavailable, "%s", err)
		}
		return s.told(s.sweep.Done(answer, err, time.Since(began))), nil
	}
	return nil, ctx.Err()
}

// tune sets the port to the next settings.
func (s *sweeper) tune() error {
	cfg := s.settings[s.at]
	if err := s.line.port.tty.Configure(cfg); err != nil {
		return actors.Errorf(actors.FailedPrecondition, "%s", err)
	}
	s.link = modbus.NewLink(s.line.port, s.line.framing, modbus.Options{
		Baud: cfg.Baud, Bits: cfg.BitsPerChar(), Timer: s.line.port.tty.timer(), Tap: s.line.tap,
	})
	s.sweep = scan.New(s.config)
	return nil
}

// told returns the progress over all settings.
func (s *sweeper) told(f *scan.Found) proto.Message {
	cfg := s.settings[s.at]
	m := modbuslink.Progress(s.sweep, f)
	each := m.Total
	m.Asked += each * uint32(s.at)
	m.Total = each * uint32(len(s.settings))
	m.Baud, m.Parity = uint32(cfg.Baud), cfg.Parity
	if m.Found != nil {
		m.Found.Baud, m.Found.Parity = m.Baud, m.Parity
	}
	return m
}

// Close implements io.Closer.
func (s *sweeper) Close() error { return s.free(resume{}) }
