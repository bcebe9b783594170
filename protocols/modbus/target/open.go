package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
	"gatewayd/protocols/serial"
)

// dead is how long a request may remain unacknowledged before the connection counts as dead.
const dead = 10 * time.Second

// Conn is an open connection or port to a target.
type Conn struct {
	*modbus.Link
	target Target
	close  func() error
}

// Open opens the port or connection. timeout is how long each answer may take. Its errors are meant
// for users.
func (t Target) Open(ctx context.Context, timeout time.Duration) (*Conn, error) {
	opts := modbus.Options{Timeout: timeout, Datagrams: t.Transport == "udp"}
	if t.Transport == "serial" {
		return t.openPort(opts)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var conn modbus.Conn
	var err error
	switch t.Transport {
	case "udp":
		conn, err = opened(dial.UDP(ctx, t.Address))
	case "tls":
		conn, err = opened(dial.TLS(ctx, t.Address, dead, t.Files))
	default:
		conn, err = opened(dial.TCP(ctx, t.Address, dead))
	}
	if err != nil {
		return nil, fmt.Errorf("not connected: %s: %s", t.Address, dial.Reason(err))
	}
	return &Conn{modbus.NewLink(conn, t.Framing, opts), t, conn.Close}, nil
}

// opened prevents a nil pointer from becoming a non-nil modbus.Conn.
func opened[C modbus.Conn](c C, err error) (modbus.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (t Target) openPort(opts modbus.Options) (*Conn, error) {
	port, err := serial.Open(t.Serial)
	if err != nil {
		return nil, err
	}
	timer, err := serial.NewTimer()
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	opts.Baud, opts.Bits, opts.Timer = t.Serial.Baud, t.Serial.BitsPerChar(), timer
	return &Conn{modbus.NewLink(port, t.Framing, opts), t, func() error { return errors.Join(port.Close(), timer.Close()) }}, nil
}

// Do sends a request to the target's unit, once. Its errors are meant for users.
func (w *Conn) Do(ctx context.Context, r modbus.Request) (modbus.Response, error) {
	r.Unit = w.target.Unit
	answer, err := w.Link.Do(ctx, r)
	if err == nil {
		return answer, nil
	}
	var refused *modbus.Exception
	unsure := ""
	if r.Write() && !errors.As(err, &refused) && !modbus.NotSent(err) {
		unsure = ": the write may or may not have been carried out"
	}
	if modbus.LinkLost(err) {
		return answer, fmt.Errorf("%s: connection lost: %s%s", w.target, dial.Reason(err), unsure)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // its own text would end the line
		return answer, fmt.Errorf("%s%s", strings.TrimSuffix(err.Error(), ": "+os.ErrDeadlineExceeded.Error()), unsure)
	}
	return answer, fmt.Errorf("%w%s", err, unsure)
}

// Close closes the port or connection.
func (w *Conn) Close() error { return w.close() }
