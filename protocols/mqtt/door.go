package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Door is a listener in addition to Config.Listen. All listeners share one broker, with the same
// limits, sessions and rights.
type Door struct {
	Listen    string // host:port
	Socket    string // path of a unix socket, instead of Listen
	Plain     bool   // not encrypted although Config has TLS; a unix socket never is encrypted
	WebSocket bool
	// Of web pages accepted in addition to those with the same host and port; WebSocket only.
	Origins []string
}

// entrance is a door with an open listener.
type entrance struct {
	net.Listener
	tls     *tls.Config // nil: not encrypted
	web     bool
	origins []string
}

// open opens the listener. The error names the address and the cause.
func (d Door) open(secure *tls.Config) (*entrance, error) {
	e := &entrance{tls: secure, web: d.WebSocket, origins: d.Origins}
	if d.Plain || d.Socket != "" {
		e.tls = nil
	}
	var err error
	at := d.Listen
	if d.Socket != "" {
		at = d.Socket
		e.Listener, err = listenUnix(d.Socket)
	} else {
		// A peer that lost power is noticed within a minute even if it asked for no keep alive.
		lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
		}}
		e.Listener, err = lc.Listen(context.Background(), "tcp", d.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("mqtt broker on %s: %w", at, err)
	}
	return e, nil
}

// listenUnix listens on a unix socket that only this user and group may use. It replaces a socket
// left by a dead process.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		if c, alive := net.Dial("unix", path); alive == nil {
			_ = c.Close()
			return nil, errors.New("another process listens there")
		}
		if st, serr := os.Lstat(path); serr != nil || st.Mode()&os.ModeSocket == 0 {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		if l, err = net.Listen("unix", path); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}
