package srv

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// DialFunc is the type of net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Scheme is the suffix of the scheme in a URL of a service:
// "ssl+srv://_secure-mqtt._tcp.example.com" is that service, over TLS.
const Scheme = "+srv"

// Endpoint resolves a URL. The URL of a service becomes that of the first target that accepts a
// connection, with its host and port; certificates must then be valid for that host. The returned
// function dials that target, the first time with the connection already made, and anything else by
// dial. Any other URL and dial are returned unchanged.
func (r Resolver) Endpoint(ctx context.Context, raw string, dial DialFunc) (string, DialFunc, error) {
	scheme, rest, found := strings.Cut(raw, Scheme+"://")
	if !found || strings.ContainsAny(scheme, ":/") {
		return raw, dial, nil
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Port() != "" || u.Host == "" {
		return "", nil, fmt.Errorf("%s%s://… needs the name of an SRV record, like _mqtt._tcp.example.com, and no port", scheme, Scheme)
	}
	conn, t, err := r.Dial(ctx, u.Host, dial)
	if err != nil {
		return "", nil, err
	}
	u.Host = net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
	at := &reached{conn: conn, target: t, dial: dial, host: u.Host}
	context.AfterFunc(ctx, at.close)
	return u.String(), at.connect, nil
}

// reached is a target that has accepted a connection.
type reached struct {
	target Target
	host   string // with the port
	dial   DialFunc

	mu   sync.Mutex
	conn net.Conn // not used yet
}

// connect is the DialFunc returned by Endpoint.
func (r *reached) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if address != r.host {
		return r.dial(ctx, network, address)
	}
	r.mu.Lock()
	conn := r.conn
	r.conn = nil
	r.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	var failed error
	for i, addr := range r.target.Addrs {
		conn, err := try(ctx, len(r.target.Addrs)-i, net.JoinHostPort(addr.String(), strconv.Itoa(int(r.target.Port))), r.dial)
		if err == nil {
			return conn, nil
		}
		failed = err
	}
	return nil, failed
}

// close closes the connection if it has not been used in time.
func (r *reached) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}
