package serialline

import (
	"context"
	"fmt"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/serial"
)

// Results of the workers that watch for the device.
type (
	appeared struct {
		path   string
		waited bool // it did not exist before
	}
	absent   struct{ path string } // still does not exist
	vanished struct{ path string }
	present  struct{}
)

// presence handles messages about opening the port and about its existence.
func (l *line) presence(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case *port:
		return l.openedPort(c, m)
	case refused:
		return l.refused(c, m)
	case set:
		return l.tuned(c, m.err)
	case look:
		l.watch(c)
	case appeared:
		if m.path == l.waits {
			if l.waits = ""; m.waited {
				l.flaws = 0
			}
			l.open(c)
		}
	case absent:
		if m.path == l.waits {
			l.waits = ""
			l.watch(c)
		}
	case check:
		l.check(c)
	case vanished:
		if l.port != nil && l.port.path == m.path && !l.dispatcher.Busy() && !l.tuning {
			l.unplugged(c, "unplugged: "+m.path)
			l.watch(c)
		}
	}
	return nil
}

func (l *line) openedPort(c *actors.Context, p *port) error {
	l.tuning = false
	if l.held {
		c.Close(p)
		return nil
	}
	l.port = p
	l.dispatcher.Opened++
	if l.changed {
		l.apply(c)
		if l.tuning {
			return nil
		}
	}
	l.ready(c)
	return nil
}

func (l *line) tuned(c *actors.Context, err error) error {
	l.tuning = false
	switch {
	case err != nil && serial.Gone(err):
		l.unplugged(c, "unplugged: "+l.cfg.Port)
		l.watch(c)
	case err != nil:
		return err
	case l.changed:
		l.apply(c)
	case l.held:
		l.unplugged(c, l.drilled())
	case l.port != nil:
		l.ready(c)
	}
	return nil
}

// refused handles a port that could not be opened. If it does not exist, the line waits for it;
// otherwise it may need a moment after it was plugged in.
func (l *line) refused(c *actors.Context, m refused) error {
	l.tuning = false
	switch {
	case l.held:
	case l.changed:
		l.open(c)
	case serial.Gone(m.err):
		if l.flaws++; !m.there {
			l.flaws = 0
		} else if l.flaws >= dead {
			return actors.Wedged(fmt.Errorf("it exists, but: %w", m.err))
		}
		l.unplugged(c, "unplugged: "+m.path)
		c.After(breath, look{})
	default:
		if l.flaws++; l.flaws >= flawed {
			return m.err
		}
		c.After(breath, look{})
	}
	return nil
}

// lose handles a transaction that has lost the port.
func (l *line) lose(c *actors.Context, w *dispatch.Batch) error {
	if l.modbus != l.carried { // the port was taken from it on purpose
		l.dispatcher.Done(w, l.now())
		l.apply(c)
		l.next(c)
		return nil
	}
	if !serial.Gone(w.Lost) {
		l.dispatcher.Done(w, l.now())
		l.dispatcher.ReportFault(c, actors.Bad, w.Lost.Error())
		return fmt.Errorf("port %s: %w", l.cfg.Port, w.Lost)
	}
	l.unplugged(c, "unplugged: "+l.cfg.Port)
	l.dispatcher.Done(w, l.now())
	if l.flaws++; l.flaws > flawed {
		return actors.Wedged(fmt.Errorf("port %s exists but fails repeatedly: %w", l.cfg.Port, w.Lost))
	}
	l.watch(c)
	return nil
}

// unplugged closes the port and answers waiting and future requests with the cause.
func (l *line) unplugged(c *actors.Context, cause string) {
	if l.port != nil {
		c.Close(l.port)
		l.port, l.modbus = nil, nil
	}
	l.dispatcher.Down("line " + cause)
	l.say(c, cause)
}

// watch waits until the device exists, then opens it.
func (l *line) watch(c *actors.Context) {
	if l.held || l.port != nil || l.tuning || l.waits == l.cfg.Port {
		return
	}
	path, place := l.cfg.Port, l.place
	l.waits = path
	const turn = time.Minute
	c.Do(turn+time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, turn)
		defer cancel()
		err := place.find(path)
		if place.appeared(ctx, path) != nil {
			return absent{path}, nil
		}
		return appeared{path, err != nil}, nil
	})
}

// check checks that an idle port still exists. Without transactions nothing else would notice.
func (l *line) check(c *actors.Context) {
	idle := !l.used
	l.used = false
	if l.port == nil || !idle || l.dispatcher.Busy() || l.tuning {
		return
	}
	path, place := l.port.path, l.place
	c.Do(openLimit, func(context.Context) (any, error) {
		if place.find(path) != nil {
			return vanished{path}, nil
		}
		return present{}, nil
	})
}

func (l *line) drilled() string { return "unplugged: " + l.cfg.Port + " (a drill)" }

// inject carries out a fault drill.
func (l *line) inject(c *actors.Context, m actors.Inject) {
	switch m.Fault {
	case "corrupt":
		l.noise = m.Rate
		if l.port != nil {
			l.port.Corrupt(m.Rate)
		}
	case "unplug":
		l.held = true
		if !l.tuning {
			l.unplugged(c, l.drilled()) // closing the port ends a transaction under way
		}
	case "plug":
		if l.held {
			l.held = false
			l.watch(c)
		}
	}
	c.Reply(nil)
}
