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

// Config holds the settings of the bus. The zero value of a field selects its default, which is
// given after the semicolon.
type Config struct {
	Gateway   string        // id of this gateway, the second token of its subjects; required
	Dir       string        // JetStream's directory; "" means no JetStream: no events, last states or buckets are kept
	KeyDir    string        // directory of observer.nk and operator.nk; <Dir>/../keys
	Listen    string        // host:port for clients outside this process; "" means no socket at all
	TLS       *tls.Config   // for the listener; nil means plain TCP
	Insecure  bool          // allow a listener beyond loopback without TLS or with Anonymous
	Anonymous string        // role of clients without credentials: "" (refused), Observer or Operator
	MaxStore  int64         // bytes of all file streams except the tracks; 64 MiB
	MaxTracks int64         // bytes of the tracks, in addition to MaxStore; 64 MiB
	Reserve   int64         // bytes of disk space that tracks leave free for everything else; 16 MiB
	Guard     Guard         // identifies clients; nil: the keys in KeyDir do. With a Guard, those keys admit clients of this machine only
	Refused   func(Refusal) // called for everything that clients of the listener are refused; must not block; may be nil
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
		return fmt.Errorf("anonymous = %q: not allowed with a guard, which decides what clients without credentials may use", c.Anonymous)
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

// serverOptions returns the options of the embedded server: no signal handling, no monitoring port,
// and limits for every client.
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
		// Clients that begin with the TLS handshake, such as scanners and tls_first clients, get
		// it. The others are sent the INFO line that NATS clients expect after the same silence as
		// with nats-server's "auto".
		TLSHandshakeFirst:         c.TLS != nil,
		TLSHandshakeFirstFallback: server.DEFAULT_TLS_HANDSHAKE_FIRST_FALLBACK_DELAY,

		CustomClientAuthentication: door,
		AlwaysEnableNonce:          true, // for nkeys
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

// writeDeadline is how long a client may accept no data before it is disconnected. The gateway's
// own connections are cut off too, and lose what is in flight, when the whole machine stalls for
// that long. A server that is being stopped waits this long for a stuck client.
const writeDeadline = 8 * time.Second

// maxClients is the maximum number of concurrent connections, those of this process included.
const maxClients = 64

const roleActors = "actors"
