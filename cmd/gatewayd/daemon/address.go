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

// tellAddress writes where the bus listens into the data directory: the real
// port, for the commands of this machine. Without a listener there is no file.
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
		text += file + "\n" // by which a client on this machine knows it
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

// reachable is a listener's address as a client on this machine uses it.
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
