package tcplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Default ports if the address has none.
const (
	plainPort  = "502"
	securePort = "802"
)

// check validates combinations of values that are each within their range.
func check(cfg *modbusv1.TcpLink) error {
	switch {
	case cfg.InFlight > 1 && cfg.Framing != "tcp":
		return fmt.Errorf("in-flight: %d transactions at a time need framing tcp, the only one with transaction ids", cfg.InFlight)
	case cfg.InFlight > 1 && (cfg.Transport == "udp" || cfg.Tls != nil):
		return fmt.Errorf("in-flight: %d transactions at a time need transport tcp without tls", cfg.InFlight)
	case cfg.Transport == "udp" && cfg.Framing == "ascii":
		return errors.New(`transport = "udp" carries framing "tcp" or "rtu", not "ascii"`)
	case cfg.Transport == "udp" && cfg.Tls != nil:
		return errors.New(`tls needs transport = "tcp"`)
	case cfg.Tls != nil && cfg.Framing != "tcp":
		return fmt.Errorf(`tls carries framing "tcp" (Modbus/TCP Security), not %q`, cfg.Framing)
	}
	return nil
}

// checkPort validates the port of the address.
func checkPort(cfg *modbusv1.TcpLink) error {
	_, port, _ := net.SplitHostPort(target(cfg))
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %s is out of range: 1 to 65535", port)
	}
	return nil
}

// alike reports whether a connection made for one config can be used for the other.
func alike(a, b *modbusv1.TcpLink) bool {
	return a.Address == b.Address && a.Framing == b.Framing && a.Transport == b.Transport && proto.Equal(a.Tls, b.Tls) &&
		a.InFlight == b.InFlight && a.DeadAfter.AsDuration() == b.DeadAfter.AsDuration()
}

// target returns the address of the link with its port.
func (l *link) target() string { return target(l.cfg) }

func target(cfg *modbusv1.TcpLink) string {
	if _, _, err := net.SplitHostPort(cfg.Address); err == nil {
		return cfg.Address
	}
	port := plainPort
	if cfg.Tls != nil {
		port = securePort
	}
	return net.JoinHostPort(strings.Trim(cfg.Address, "[]"), port)
}

// way returns the function that makes a connection. It does not depend on the link.
func way(cfg *modbusv1.TcpLink) func(ctx context.Context) (modbus.Conn, error) {
	address, dead := target(cfg), cfg.DeadAfter.AsDuration()
	switch {
	case cfg.Transport == "udp":
		return func(ctx context.Context) (modbus.Conn, error) { return opened(dial.UDP(ctx, address)) }
	case cfg.Tls != nil:
		files := dial.Files{Certificate: cfg.Tls.CertFile, Key: cfg.Tls.KeyFile, CA: cfg.Tls.CaFile, Name: cfg.Tls.ServerName}
		if files.Name == "" {
			files.Name, _, _ = net.SplitHostPort(address)
		}
		return func(ctx context.Context) (modbus.Conn, error) { return opened(dial.TLS(ctx, address, dead, files)) }
	}
	return func(ctx context.Context) (modbus.Conn, error) { return opened(dial.TCP(ctx, address, dead)) }
}

// opened returns a nil interface after an error: a nil pointer in it would look like a connection.
func opened[C modbus.Conn](c C, err error) (modbus.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// reason describes in an operator's words why there is no connection.
func reason(address string, limit time.Duration, err error) string {
	why := dial.Reason(err)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("%s within %s", why, limit)
	}
	return fmt.Sprintf("not connected: %s: %s", address, why)
}

// unproven describes why a connection ended without an answer. A host without a listener refuses
// datagrams, and since TLS 1.3 our certificate is verified after the handshake: both become known
// only now.
func unproven(address string, err error) string {
	var number syscall.Errno
	switch why := dial.Reason(err); {
	case errors.As(err, &number) && number == syscall.ECONNREFUSED, strings.HasPrefix(why, dial.NotAccepted):
		return fmt.Sprintf("not connected: %s: %s", address, why)
	}
	return fmt.Sprintf("connected, but closed without an answer: %s", address)
}
