// Package mqttclient is one connection to somebody else's MQTT broker (3.1.1): it subscribes to one topic, publishes, and tells when
// it is over. It does not connect again: whoever uses it decides when.
package mqttclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Config says which broker, and who we are there.
type Config struct {
	URL      string // tcp://host:1883 or ssl://host:8883
	ClientID string
	Username string
	Password string

	CAFile, CertFile, KeyFile string // PEM; CAFile empty: the system's authorities
	ServerName                string // on the broker's certificate; empty: the host of URL

	Topic string // subscribed to with QoS 0, so that nothing old comes after a reconnect
	// OnMessage gets what is published there, but what was retained. OnLost is called at most once, when the connection ends by
	// itself. Both are called in goroutines of the client and must not block.
	OnMessage func(payload []byte)
	OnLost    func(err error)
}

const (
	keepAlive   = 30 * time.Second
	pingTimeout = 10 * time.Second
	goodbye     = 250 // milliseconds
	waiting     = 256 // messages to be sent, at most
)

// Client is a connection that stands. Its methods may be called from any goroutine.
type Client struct {
	c    paho.Client
	out  chan outgoing
	done chan struct{}
	once sync.Once
}

// outgoing is a message that waits to be sent, since the library waits for a broker that does not read.
type outgoing struct {
	topic   string
	payload []byte
}

// Dial connects and subscribes, or says why it cannot, until ctx ends.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	o := paho.NewClientOptions().AddBroker(cfg.URL).SetClientID(cfg.ClientID).SetUsername(cfg.Username).SetPassword(cfg.Password).
		SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetKeepAlive(keepAlive).SetPingTimeout(pingTimeout).SetWriteTimeout(pingTimeout)
	if at, ok := ctx.Deadline(); ok {
		o.SetConnectTimeout(time.Until(at))
	}
	if strings.HasPrefix(cfg.URL, "ssl://") {
		t, err := cfg.tls()
		if err != nil {
			return nil, fmt.Errorf("broker %s: %w", cfg.URL, err)
		}
		o.SetTLSConfig(t)
	}
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		defer guard(cfg.OnLost)
		cfg.OnLost(err)
	})
	k := &Client{c: paho.NewClient(o), out: make(chan outgoing, waiting), done: make(chan struct{})}
	if err := wait(ctx, k.c.Connect()); err != nil {
		k.c.Disconnect(0)
		return nil, fmt.Errorf("broker %s: %w", cfg.URL, err)
	}
	t := k.c.Subscribe(cfg.Topic, 0, func(_ paho.Client, m paho.Message) {
		defer guard(cfg.OnLost)
		if !m.Retained() { // a request that was kept would be carried out again at every connection
			cfg.OnMessage(m.Payload())
		}
	})
	err := wait(ctx, t)
	if granted, ok := t.(*paho.SubscribeToken); err == nil && ok && granted.Result()[cfg.Topic] == 0x80 {
		err = errors.New("the broker refuses it")
	}
	if err != nil {
		k.c.Disconnect(0)
		return nil, fmt.Errorf("broker %s: subscribe to %s: %w", cfg.URL, cfg.Topic, err)
	}
	go k.send(cfg.OnLost)
	return k, nil
}

// guard ends a connection whose callback panics, with the reason.
func guard(lost func(error)) {
	if p := recover(); p != nil {
		lost(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

func wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish sends payload with QoS 1, not retained. It waits neither for the broker nor for its acknowledgement.
func (k *Client) Publish(topic string, payload []byte) error {
	if !k.Open() {
		return errors.New("not connected")
	}
	select {
	case k.out <- outgoing{topic, payload}:
		return nil
	default:
		return fmt.Errorf("%d messages wait already", waiting)
	}
}

func (k *Client) send(lost func(error)) {
	defer guard(lost)
	for {
		select {
		case m := <-k.out:
			k.c.Publish(m.topic, 1, false, m.payload)
		case <-k.done:
			return
		}
	}
}

// Open says whether the connection stands.
func (k *Client) Open() bool { return k.c.IsConnectionOpen() }

// Close implements io.Closer. OnLost is not called for it.
func (k *Client) Close() error {
	k.once.Do(func() {
		close(k.done)
		k.c.Disconnect(goodbye)
	})
	return nil
}

func (cfg Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities: %s has no certificate", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
