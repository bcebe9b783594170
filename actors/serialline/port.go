package serialline

import (
	"context"
	"fmt"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// port is the result of opening; the life of the actor owns it.
type port struct {
	*modbus.NoisyPort
	tty  tty
	path string
}

// Close implements io.Closer.
func (p *port) Close() error { return p.tty.Close() }

// Results of the workers that open and configure the port.
type (
	refused struct {
		path  string
		there bool
		err   error
	}
	set struct{ err error }
)

const (
	// openLimit is the longest time that a healthy driver needs to open, configure or close a port.
	openLimit = 5 * time.Second
	// flawed limits the consecutive failures of a port that exists.
	flawed = 4
	// dead is the number of times that opening a port that exists may fail as if it did not exist,
	// until its driver is regarded as stuck.
	dead = 50
	// breath is the pause before a port is tried again.
	breath = 100 * time.Millisecond
)

// open opens the port and closes the previous one first.
func (l *line) open(c *actors.Context) {
	if l.tuning || l.held {
		return
	}
	old, cfg, adapters, place := l.port, modbuslink.Settings(l.cfg), l.adapters, l.place
	l.port, l.modbus, l.tuning, l.changed = nil, nil, true, false
	c.Do(openLimit, func(context.Context) (any, error) {
		if old != nil {
			_ = old.Close() // an error no longer matters
		}
		tty, err := place.open(cfg)
		if err != nil {
			return refused{cfg.Path, place.find(cfg.Path) == nil, err}, nil
		}
		adapters.See(cfg.Path)
		return &port{NoisyPort: &modbus.NoisyPort{Port: tty}, tty: tty, path: cfg.Path}, nil
	})
}

// ready starts using a port that has just been opened or configured.
func (l *line) ready(c *actors.Context) {
	s, framing := modbuslink.Settings(l.cfg), modbus.RTU
	if l.cfg.Framing == "ascii" {
		framing = modbus.ASCII
	}
	l.port.Corrupt(l.noise)
	opts := modbus.Options{Baud: s.Baud, Bits: s.BitsPerChar(), Turnaround: l.cfg.Turnaround.AsDuration(), Timer: l.port.tty.timer(), Tap: l.dispatcher.Tap}
	char, silence := modbuslink.Timing(l.cfg)
	switch {
	case char == 0:
		opts.Baud, opts.Silence = 0, -1
	case l.cfg.InterFrameDelay != nil:
		opts.Silence = silence
	}
	l.modbus = modbus.NewLink(l.port, framing, opts)
	l.dispatcher.SetAir(dispatch.Air(char, silence, framing))
	l.dispatcher.Up()
	l.say(c, "")
	l.next(c)
}

// apply puts a changed config in force once nothing is under way.
func (l *line) apply(c *actors.Context) {
	if !l.changed || l.tuning || l.dispatcher.Busy() {
		return
	}
	if l.port == nil || l.port.path != l.cfg.Port {
		l.open(c)
		return
	}
	tty, cfg := l.port.tty, modbuslink.Settings(l.cfg)
	l.tuning, l.changed = true, false
	c.Do(openLimit, func(context.Context) (any, error) { return set{tty.Configure(cfg)}, nil })
}

// say publishes the state of the port and sets the health; an empty cause means that it is open.
func (l *line) say(c *actors.Context, cause string) {
	s := modbuslink.Settings(l.cfg)
	target := fmt.Sprintf("%s %d %d%c%d", s.Path, s.Baud, s.DataBits, s.Parity[0]&^0x20, s.StopBits)
	c.State("link", &modbusv1.LinkState{Up: cause == "", Cause: cause, Target: target})
	if cause == "" {
		l.down = false
		c.OK()
		return
	}
	if !l.down && l.dispatcher.Opened > 0 {
		l.dispatcher.ReportFault(c, actors.Degraded, cause)
	}
	l.down = true
	c.Degraded(cause)
}
