package bus

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Options say how to reach the bus of a gateway from another process.
type Options struct {
	URL      string      // nats://host:port; default nats://127.0.0.1:4222
	NKeyFile string      // seed file (observer.nk, operator.nk) or JWT credentials file; "" connects without one
	User     string      // name of an identity with a password; "": none
	Password string      // password of User
	Name     string      // name of this client, as the server lists it
	TLS      *tls.Config // nil for plain TCP, or for the system's certificates with a tls:// URL
	Hub      bool        // the server is a hub of gateways: requests for stored data go to the gateway that the subject names
}

// Dial connects to the bus of a running gateway. It tries once; its errors are one line for an
// operator. An established connection reconnects by itself.
func Dial(o Options) (*Conn, error) {
	if o.URL == "" {
		o.URL = nats.DefaultURL
	}
	c := newConn()
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 200*time.Millisecond),
		nats.PingInterval(20 * time.Second),
		nats.ErrorHandler(c.trouble),
		nats.ClosedHandler(func(*nats.Conn) { close(c.ended) }),
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	if o.NKeyFile != "" {
		key, err := proofFrom(o.NKeyFile)
		switch {
		case errors.Is(err, fs.ErrNotExist) && o.Hub:
			return nil, fmt.Errorf("key file %s does not exist: gatewayd fleet creds --operator creates it", o.NKeyFile)
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("key file %s does not exist: the gateway creates it when its bus first listens", o.NKeyFile)
		case errors.Is(err, os.ErrPermission):
			return nil, fmt.Errorf("key file %s cannot be read by this user: use sudo or join the group that owns it", o.NKeyFile)
		case err != nil:
			return nil, fmt.Errorf("key file %s holds no user key: %s", o.NKeyFile, oneLine(err.Error()))
		}
		opts = append(opts, key)
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	nc, err := nats.Connect(o.URL, opts...)
	if err != nil {
		o.URL = Redacted(o.URL)
		return nil, unreachable(o, err)
	}
	c.nc, c.keep, c.hub = nc, nc, o.Hub
	return c, nil
}

// proofFrom returns the option that authenticates a client with the given file.
func proofFrom(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := nkeys.ParseDecoratedJWT(text); err == nil && bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(file), nil
	}
	return nats.NkeyOptionFromSeed(file)
}

// Redacted returns a URL without its password.
func Redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "nats://" + text[strings.LastIndexByte(text, '@')+1:]
	}
	return u.Redacted()
}

// unreachable says in one line why the connection failed and what can be done.
func unreachable(o Options, err error) error {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		switch {
		case o.User != "" || strings.Contains(o.URL, "@"):
			return Errorf(PermissionDenied, "%s does not accept that name and password", o.URL)
		case o.NKeyFile == "":
			return Errorf(PermissionDenied, "%s requires credentials: give a key file (observer.nk or operator.nk)", o.URL)
		}
		return Errorf(PermissionDenied, "%s does not accept the key in %s: does it belong to this gateway?", o.URL, o.NKeyFile)
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted), strings.Contains(err.Error(), "tls"):
		return Errorf(FailedPrecondition, "%s and this client do not agree on TLS: %s", o.URL, oneLine(err.Error()))
	}
	return Errorf(Unavailable, "no gateway answers at %s: is gatewayd running there, with the bus listening? (%s)", o.URL, oneLine(err.Error()))
}
