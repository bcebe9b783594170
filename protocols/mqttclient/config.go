package mqttclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"syscall"
	"time"

	"gatewayd/protocols/srv"
	"gatewayd/protocols/tlsfiles"
)

// Config says which broker to use, how to identify to it, and what to subscribe to.
type Config struct {
	// tcp://host:1883 or ssl://host:8883; mqtt and mqtts are the same. With +srv a service:
	// ssl+srv://_secure-mqtt._tcp.example.com.
	URL      string
	Version  int // 4 is MQTT 3.1.1 and the default, 5 is MQTT 5
	ClientID string
	Username string
	Password string

	TLS tlsfiles.Client // for ssl; the files are read when dialling

	KeepAlive time.Duration // 0: 30 s; at most 65,535 s
	// How long the broker keeps our subscriptions and messages after a disconnect; 0: a clean
	// session each time.
	Session time.Duration
	Will    *Message // published by the broker if the connection ends without DISCONNECT
	// Publications that may await acknowledgement at once; 0: 20, as many as mosquitto accepts.
	Window int
	Most   int // largest packet accepted from the broker, in bytes; 0: 1 MiB

	Subscriptions []Subscription // in force when Dial returns
	// Dialer makes the TCP connection; nil: net.Dialer.
	Dialer   func(ctx context.Context, network, address string) (net.Conn, error)
	Resolver srv.Resolver // resolves services

	// OnLost is called at most once, when the connection ends other than by Close, in a goroutine
	// of the client. It must not block. It may be nil.
	OnLost func(err error)
}

// A Subscription is a filter with its handler. With MQTT 3.1.1 a broker may deliver a message
// several times if subscriptions overlap.
type Subscription struct {
	Filter string
	QoS    byte // highest QoS for the broker to use; with 0, nothing old arrives after a reconnect
	// Deliver retained messages too; by default they are not, because a retained request would be
	// carried out again.
	Kept bool
	// NoLocal excludes our own messages; MQTT 5 only.
	NoLocal bool
	// OnMessage is called in the client's reading goroutine and must not block. A message of QoS 1
	// or 2 is acknowledged when it has returned.
	OnMessage func(m Message)
}

// A Message is one publication. The fields from ContentType on are transmitted by MQTT 5 only.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool

	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	Expiry          time.Duration // whole seconds; 0: never
	User            [][2]string
}

func (m Message) size() int { return len(m.Topic) + len(m.Payload) }

const (
	pingTimeout = 10 * time.Second
	goodbye     = 250 * time.Millisecond
)

func (cfg Config) complete() (Config, error) {
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 30 * time.Second
	}
	cfg.KeepAlive = min(max(cfg.KeepAlive, time.Second), 65535*time.Second)
	if cfg.Window <= 0 {
		cfg.Window = 20
	}
	if cfg.Most <= 0 {
		cfg.Most = 1 << 20
	}
	if cfg.OnLost == nil {
		cfg.OnLost = func(error) {}
	}
	if cfg.Dialer == nil {
		cfg.Dialer = (&net.Dialer{}).DialContext
	}
	switch cfg.Version {
	case 0:
		cfg.Version = 4
	case 4, 5:
	default:
		return cfg, fmt.Errorf("version %d is neither 4, which is MQTT 3.1.1, nor 5", cfg.Version)
	}
	return cfg, nil
}

// open makes the connection, including TLS.
func (cfg Config) open(ctx context.Context) (net.Conn, error) {
	at, dial, err := cfg.Resolver.Endpoint(ctx, cfg.URL, cfg.Dialer)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the URL is not tcp://host:1883 or ssl://host:8883")
	}
	port, secure := "1883", false
	switch u.Scheme {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		port, secure = "8883", true
	default:
		return nil, fmt.Errorf("scheme %q is neither tcp nor ssl", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	var t *tls.Config
	if secure {
		if t, err = cfg.TLS.Config(u.Hostname()); err != nil {
			return nil, err
		}
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || !secure {
		return conn, err
	}
	s := tls.Client(conn, t)
	if err := s.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = errors.New("it closes the connection in the TLS handshake; for a broker without TLS write tcp:// instead of ssl://")
		}
		return nil, err
	}
	return s, nil
}

// IDOf returns the default client id of an actor: gatewayd-<gateway>-<last part of its path>.
func IDOf(gateway, actor string) string { return "gatewayd-" + gateway + "-" + path.Base(actor) }
