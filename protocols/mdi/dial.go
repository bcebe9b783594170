package mdi

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"gatewayd/protocols/srv"
	"gatewayd/protocols/uplink"
)

// Target is the address of a receiver.
type Target struct {
	Address string // host:port; or
	Service string // an SRV record, "_mdi._tcp.example.com"
	// TLS is nil for plain TCP. Without a ServerName, the certificate must be valid for the host of
	// Address, or for the target that the SRV record names.
	TLS      *tls.Config
	Resolver srv.Resolver // for Service
}

func (t Target) String() string {
	scheme := "tcp"
	if t.TLS != nil {
		scheme = "tls"
	}
	if t.Service != "" {
		return scheme + " service " + t.Service
	}
	return scheme + "://" + t.Address
}

// probes detect a dead connection before keepalive does, if the peer's machine is gone.
var probes = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// Dial connects to a receiver and opens or resumes the session.
func (s *Session) Dial(ctx context.Context, t Target, hear uplink.Callbacks) (uplink.Sender, error) {
	conn, host, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	m := &Meter{Conn: conn}
	if t.TLS == nil {
		return s.open(ctx, t, m, hear)
	}
	cfg := t.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	secured := tls.Client(m, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", host, err)
	}
	return s.open(ctx, t, &metered{secured, m}, hear)
}

func (s *Session) open(ctx context.Context, t Target, conn net.Conn, hear uplink.Callbacks) (uplink.Sender, error) {
	x, err := s.Open(ctx, conn, hear)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return x, nil
}

func (t Target) connect(ctx context.Context) (net.Conn, string, error) {
	d := net.Dialer{KeepAliveConfig: probes}
	if t.Service != "" {
		conn, at, err := t.Resolver.Dial(ctx, t.Service, d.DialContext)
		return conn, at.Host, err
	}
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return nil, "", fmt.Errorf("address %s: %w", t.Address, err)
	}
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	return conn, host, err
}

// metered is TLS over a connection whose octets are counted.
type metered struct {
	*tls.Conn
	meter *Meter
}

func (m *metered) Traffic() (sent, received uint64) { return m.meter.Traffic() }
