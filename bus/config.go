package bus

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config is what the bus needs to know. The zero value of a field is its default.
type Config struct {
	Gateway   string        // id of this gateway, the second token of its subjects; required
	Dir       string        // JetStream's directory; "" means no JetStream: no event, last state or bucket is kept
	KeyDir    string        // where observer.nk and operator.nk live; <Dir>/../keys
	Listen    string        // host:port for clients outside this process; "" means no socket at all
	TLS       *tls.Config   // for the listener; nil means plain TCP
	Insecure  bool          // allow a listener beyond loopback without TLS or with Anonymous
	Anonymous string        // role of clients without credentials: "" (refused), Observer or Operator
	MaxStore  int64         // bytes of all file streams but the tracks; 64 MiB
	MaxTracks int64         // bytes of the tracks, beside MaxStore; 64 MiB
	Reserve   int64         // bytes that tracks leave free on the disk for everybody else; 16 MiB
	Guard     Guard         // says who clients are; nil: the keys in KeyDir do. With it they let in clients of this machine only
	Refused   func(Refusal) // hears what clients of the listener are refused, and must not block; nil: nobody does
	MaxMemory int64         // bytes of all memory streams; 16 MiB
	Events    int           // events kept; 10000
	Leaf      *Leaf         // the hub to join; nil: none
	Log       *slog.Logger  // slog.Default()
}

func (c Config) withDefaults() Config {
	if c.MaxStore <= 0 {
		c.MaxStore = 64 << 20
	}
	if c.MaxTracks <= 0 {
		c.MaxTracks = 64 << 20
	}
	if c.Reserve <= 0 {
		c.Reserve = 16 << 20
	}
	if c.MaxMemory <= 0 {
		c.MaxMemory = 16 << 20
	}
	if c.Events <= 0 {
		c.Events = 10_000
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.KeyDir == "" && c.Dir != "" {
		c.KeyDir = filepath.Join(filepath.Dir(filepath.Clean(c.Dir)), "keys")
	}
	return c
}

func (c Config) check() error {
	if err := CheckGateway(c.Gateway); err != nil {
		return err
	}
	if c.Anonymous != "" && c.Guard != nil {
		return fmt.Errorf("anonymous = %q: what clients without credentials may use is the guard's to say", c.Anonymous)
	}
	switch c.Anonymous {
	case "", Observer, Operator:
	default:
		return fmt.Errorf("anonymous = %q: want %q, %q or nothing", c.Anonymous, Observer, Operator)
	}
	if c.Leaf != nil {
		if err := c.Leaf.check(c.Gateway); err != nil {
			return err
		}
	}
	if c.Listen == "" {
		return nil
	}
	host, _, err := hostPort(c.Listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() || c.Insecure {
		return nil
	}
	if c.TLS == nil || c.Anonymous != "" {
		return fmt.Errorf("listen %s: beyond loopback the bus needs TLS and no anonymous role, or insecure = true", c.Listen)
	}
	return nil
}

func hostPort(listen string) (string, int, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen %q: want host:port: %w", listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("listen %q: port %q is not a number from 0 to 65535", listen, port)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, int(n), nil
}

// serverOptions are those of the embedded server. No signal handling, no monitoring port, every client bounded.
func (c Config) serverOptions(door server.Authentication) (*server.Options, error) {
	o := &server.Options{
		ServerName:             "gatewayd-" + c.Gateway,
		DontListen:             c.Listen == "",
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		MaxPayload:             1 << 20,
		MaxPending:             4 << 20,
		MaxControlLine:         2048,
		MaxClosedClients:       16, // kept for the monitoring port, which is not open
		MaxConn:                maxClients,
		MaxSubs:                65_536,
		WriteDeadline:          writeDeadline,
		PingInterval:           30 * time.Second,
		AuthTimeout:            5,
		StoreDir:               c.Dir,
		SyncAlways:             true,
		JetStreamMaxMemory:     c.MaxMemory,
		JetStreamMaxStore:      c.MaxStore + c.MaxTracks,
		StreamMaxBufferedMsgs:  50_000,
		StreamMaxBufferedSize:  16 << 20,
		TLSConfig:              c.TLS,
		TLS:                    c.TLS != nil,
		TLSHandshakeFirst:      c.TLS != nil, // for those who begin with it, as scanners and tls_first clients do;
		// the others are greeted as NATS clients expect when they have been silent for as long as nats-server's own "auto" waits.
		TLSHandshakeFirstFallback: server.DEFAULT_TLS_HANDSHAKE_FIRST_FALLBACK_DELAY,

		CustomClientAuthentication: door,
		AlwaysEnableNonce:          true, // for keys
	}
	if c.Listen != "" {
		host, port, err := hostPort(c.Listen)
		if err != nil {
			return nil, err
		}
		if port == 0 {
			port = server.RANDOM_PORT
		}
		o.Host, o.Port = host, port
	}
	if c.Leaf != nil {
		return o, c.Leaf.options(o)
	}
	return o, nil
}

// writeDeadline is after what time a client that takes nothing is cut off. So are the gateway's own connections, and with them what is on its way,
// when the whole machine stands still for as long as that; and a server that stops waits so long for a client that is stuck.
const writeDeadline = 8 * time.Second

// maxClients is how many connections there may be at once, those of this process included.
const maxClients = 64

const roleActors = "actors"
