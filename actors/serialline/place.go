package serialline

import (
	"context"
	"errors"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
)

// place provides the ports.
type place interface {
	open(serial.Config) (tty, error)
	find(path string) error // nil: it exists
	appeared(ctx context.Context, path string) error
}

// tty is an open port.
type tty interface {
	modbus.Port
	Configure(serial.Config) error
	timer() modbus.Waiter // nil: use the timers of the runtime
}

// machine provides the ports of this machine.
type machine struct{}

func (machine) open(cfg serial.Config) (tty, error) {
	p, err := serial.Open(cfg)
	if err != nil {
		return nil, err
	}
	t, err := serial.NewTimer()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return timed{p, t}, nil
}

func (machine) find(path string) error {
	_, err := serial.Resolve(path)
	return err
}

func (machine) appeared(ctx context.Context, path string) error { return serial.Appeared(ctx, path) }

// timed is a port with the timer for its pauses.
type timed struct {
	*serial.Port
	pauses *serial.Timer
}

func (t timed) timer() modbus.Waiter { return t.pauses }

// Close implements io.Closer.
func (t timed) Close() error { return errors.Join(t.Port.Close(), t.pauses.Close()) }

// elsewhere provides a single port, whatever its path and settings.
type elsewhere func(context.Context) (modbus.Conn, error)

func (e elsewhere) open(serial.Config) (tty, error) {
	c, err := e(context.Background())
	if err != nil {
		return nil, err
	}
	return plain{c}, nil
}

func (e elsewhere) find(string) error {
	c, err := e(context.Background())
	if err != nil {
		return err
	}
	return c.Close()
}

func (e elsewhere) appeared(ctx context.Context, path string) error {
	return serial.Until(ctx, func() bool { return e.find(path) == nil })
}

// plain is a connection used as a port.
type plain struct{ modbus.Conn }

func (plain) Configure(serial.Config) error { return nil }

func (plain) timer() modbus.Waiter { return nil }

// Discard implements modbus.Port.
func (p plain) Discard() error {
	if d, ok := p.Conn.(interface{ Discard() error }); ok {
		return d.Discard()
	}
	return nil
}
