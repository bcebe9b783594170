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

// Door is one way in besides Listen. What comes through any of them is one broker's: the same caps, sessions and rights.
type Door struct {
	Listen    string // host:port
	Socket    string // path of a unix socket, in place of Listen
	Plain     bool   // not encrypted although Config has TLS; a unix socket never is
	WebSocket bool
	Origins   []string // of pages that browsers may show, besides those of the same host and port; WebSocket only
}

// entrance is a door that is open.
type entrance struct {
	net.Listener
	tls     *tls.Config // nil: plain
	web     bool
	origins []string
}

// open listens. The error names the address and the cause.
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
		// A peer that lost its power is noticed within a minute even if it asked for no keep alive.
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

// listenUnix listens on a socket that this user and group may use. One that a dead process has left behind is replaced.
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
