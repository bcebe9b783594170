package tcplink

import (
	"context"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/backoff"
	"gatewayd/protocols/modbus"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// conn is a connection that has been made; the life of the actor owns it.
type conn struct{ modbus.Conn }

// refused reports that no connection could be made.
type refused struct{ cause string }

var (
	framings = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP}
	// lines are the framings for which the rules of a serial line can be used.
	lines = map[string]modbus.Framing{"rtu": modbus.RTU, "ascii": modbus.ASCII}
)

func (l *link) dial(c *actors.Context) {
	l.retry.Stop()
	if l.dialing || l.conn != nil {
		return
	}
	l.dialing, l.stale = true, false
	limit, open := l.cfg.ConnectTimeout.AsDuration(), l.way(l.cfg)
	target := l.target()
	c.Do(limit+time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		far, err := open(ctx)
		if err != nil {
			return refused{reason(target, limit, err)}, nil
		}
		return &conn{far}, nil
	})
}

func (l *link) connected(c *actors.Context, far *conn) {
	l.dialing = false
	if l.stale {
		c.Close(far)
		l.dial(c)
		return
	}
	l.conn, l.proved = far, false
	l.dispatcher.Opened++
	l.talk()
	l.dispatcher.SetInFlight(int(l.cfg.InFlight))
	l.dispatcher.Up()
	if !l.shaky {
		l.say(c, "")
	}
	l.next(c)
}

// talk selects how the connection is used.
func (l *link) talk() {
	far := l.conn.Conn
	l.loose = l.lenient
	switch {
	case l.cfg.InFlight > 1:
		l.modbus = modbus.NewPipe(far, modbus.Options{Tap: l.dispatcher.Tap})
	case l.loose:
		l.modbus = modbus.NewLink(far, lines[l.cfg.Framing], modbus.Options{Tap: l.dispatcher.Tap, StatePool: l.statePool})
	default:
		l.modbus = modbus.NewLink(far, framings[l.cfg.Framing], modbus.Options{Datagrams: l.cfg.Transport == "udp", Tap: l.dispatcher.Tap, StatePool: l.statePool})
	}
}

// lose closes the connection. Waiting requests stay queued if a new connection is to be tried at
// once.
func (l *link) lose(c *actors.Context, atOnce bool) {
	c.Close(l.conn)
	l.conn, l.modbus = nil, nil
	if atOnce {
		l.failed = 0
		l.dial(c)
		return
	}
	l.shaky = true
	l.backOff(c, unproven(l.target(), l.ended))
}

// backOff answers waiting requests that there is no connection, and schedules the next attempt.
func (l *link) backOff(c *actors.Context, cause string) {
	if l.stale {
		l.dial(c)
		return
	}
	l.failed++
	l.dispatcher.Down(cause)
	l.say(c, cause)
	l.retry = c.After(backoff.Pause(l.failed, backoff.Near, l.cfg.MaxBackoff.AsDuration()), redial{})
}

// say publishes the state of the connection and sets the health; an empty cause means that it is
// up.
func (l *link) say(c *actors.Context, cause string) {
	c.State("link", &modbusv1.LinkState{Up: cause == "", Cause: cause, Target: l.target()})
	if cause == "" {
		l.down = false
		c.OK()
	} else {
		if !l.down && l.dispatcher.Opened > 0 {
			l.dispatcher.ReportFault(c, actors.Unreachable, cause)
		}
		l.down = true
		c.Unreachable(cause)
	}
}

func (l *link) reconfigure(c *actors.Context, cfg *modbusv1.TcpLink) error {
	if err := check(cfg); err != nil {
		return actors.Broken(err)
	}
	same := alike(cfg, l.cfg)
	l.cfg = cfg
	if same {
		return nil
	}
	l.stale, l.failed = true, 0
	switch {
	case l.conn != nil && !l.dispatcher.Busy():
		l.lose(c, true)
	case l.conn == nil && !l.dialing:
		l.dial(c)
	}
	return nil
}
