package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"

	"gatewayd/cmd/gatewayd/files"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
)

// tellAddress writes the URL on which the bus listens, with the actual port, into the data
// directory, for commands run on this machine. If the bus does not listen, the file is removed.
func (d *Gateway) tellAddress(dir string) error {
	d.url = filepath.Join(dir, files.URLFile)
	addr := d.Bus.Addr()
	if addr == "" {
		if err := os.Remove(d.url); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	url := d.scheme() + reachable(addr)
	d.log.Info("the bus listens", "url", url)
	text := url + "\n"
	if t := d.busTLS(); t != nil {
		file, err := filepath.Abs(t.CertFile)
		if err != nil {
			return err
		}
		text += file + "\n" // by which clients on this machine verify the bus
	}
	return files.Write(d.url, []byte(text))
}

func (d *Gateway) busTLS() *tlsv1.Server { return d.cfg.Find("bus").Config.(*gatewayv1.Bus).Tls }

func (d *Gateway) scheme() string {
	if d.busTLS() != nil {
		return "tls://"
	}
	return "nats://"
}

// reachable returns the address of a listener in the form a client on this machine dials.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
