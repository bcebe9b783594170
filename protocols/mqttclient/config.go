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

// Config says which broker, who we are there, and what we want to hear.
type Config struct {
	URL      string // tcp://host:1883 or ssl://host:8883; mqtt and mqtts are the same. With +srv it is a service: ssl+srv://_secure-mqtt._tcp.example.com
	Version  int    // 4 is MQTT 3.1.1 and the default, 5 is MQTT 5
	ClientID string
	Username string
	Password string

	TLS tlsfiles.Client // for ssl: read now

	KeepAlive time.Duration // 0: 30 s; at most 65,535 s
	Session   time.Duration // for so long the broker keeps our subscriptions and what comes meanwhile; 0: it starts anew each time
	Will      *Message      // what the broker publishes when we are gone without a word
	Window    int           // most publications that wait for an acknowledgement at once; 0: 20, as many as mosquitto bears
	Most      int           // bytes of the largest packet that we take; 0: 1 MiB

	Subscriptions []Subscription // all of them stand when Dial returns
	// Dialer makes the TCP connection; nil: net.Dialer does.
	Dialer   func(ctx context.Context, network, address string) (net.Conn, error)
	Resolver srv.Resolver // finds services

	// OnLost is called at most once, when the connection ends by itself, in a goroutine of the client. It must not block. nil: nobody
	// wants to know.
	OnLost func(err error)
}

// A Subscription is what we want to hear. By MQTT 3.1.1 a broker may send a message several times for several that overlap.
type Subscription struct {
	Filter string
	QoS    byte // most that the broker may send with; 0 has nothing old come after a reconnect
	Kept   bool // retained messages as well, which else are not handed over: a request that is retained would be carried out again
	// NoLocal leaves out what we have published ourselves; MQTT 5 only.
	NoLocal bool
	// OnMessage is called in the client's reading goroutine and must not block. A message of QoS 1 or 2 is acknowledged when it has
	// returned.
	OnMessage func(m Message)
}

// A Message is one publication. The fields from ContentType on travel by MQTT 5 only.
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

// open makes the connection, with its TLS.
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
			err = errors.New("it closes the connection instead of speaking TLS; where none is wanted it is tcp:// for ssl://")
		}
		return nil, err
	}
	return s, nil
}

// IDOf is the client id of an actor whose config names none: gatewayd-<gateway>-<last part of its path>.
func IDOf(gateway, actor string) string { return "gatewayd-" + gateway + "-" + path.Base(actor) }
