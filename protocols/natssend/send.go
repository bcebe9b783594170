// Package natssend sends batches of records to a NATS server or cluster. Each record is a message,
// and counts as delivered when a JetStream stream there has stored it. It provides an
// uplink.Sender.
package natssend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/compress"
	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/srv"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/uplink"
)

// Config says where and in what form to send.
type Config struct {
	// nats:// or tls://host:port; several are servers of one cluster. With +srv a service:
	// tls+srv://_nats._tcp.example.com.
	URLs []string
	Name string // name of the client, for display

	CredsFile, NKeyFile       string // a JWT with its key, or the seed of an nkey
	Username, Password, Token string
	TLS                       *tlsfiles.Client // nil: as the server requires

	Resolver srv.Resolver // resolves services

	Form     shape.Form // its Topic, with / for ., is the subject
	Who      shape.Origin
	Stream   string // the stream that must store the messages; empty: any
	Compress string // "", "gzip" or "zstd"
}

// Check reports whether the config can work, without contacting a server.
func (cfg Config) Check() error {
	_, err := cfg.Form.New(cfg.Who)
	if err == nil && cfg.Form.Topic == "" {
		err = errors.New("subject is missing")
	}
	return err
}

// window is how many messages may await the stream's acknowledgement at once.
const window = 256

// Dial implements uplink.Dial.
func (cfg Config) Dial(ctx context.Context, hear uplink.Callbacks) (uplink.Sender, error) {
	maker, err := cfg.Form.New(cfg.Who)
	if err != nil {
		return nil, err
	}
	s := &sender{cfg: cfg, maker: maker}
	s.over, s.end = context.WithCancelCause(context.Background())
	urls, dial, err := cfg.reach(ctx, s.meter.DialContext)
	if err != nil {
		return nil, err
	}
	d := &dialer{ctx: ctx, dial: dial}
	options, err := cfg.options(d, func(err error) {
		s.end(err)
		hear.Lost(err)
	})
	if err != nil {
		return nil, err
	}
	if s.conn, err = nats.Connect(strings.Join(urls, ","), options...); err != nil {
		return nil, d.explained(err)
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(window)); err != nil {
		s.conn.Close()
		return nil, err
	}
	return s, nil
}

// reach resolves the services among the servers. Services without targets are left out, unless
// there is nothing else.
func (cfg Config) reach(ctx context.Context, dial srv.DialFunc) (urls []string, _ srv.DialFunc, failed error) {
	for _, raw := range cfg.URLs {
		at, next, err := cfg.Resolver.Endpoint(ctx, raw, dial)
		if err != nil {
			failed = err
			continue
		}
		urls, dial = append(urls, at), next
	}
	if len(urls) > 0 {
		failed = nil
	}
	return urls, dial, failed
}

func (cfg Config) options(d *dialer, closed func(error)) ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name(cfg.Name), nats.NoReconnect(), nats.SetCustomDialer(d), nats.PingInterval(30 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ClosedHandler(func(c *nats.Conn) {
			err := c.LastError()
			if err == nil {
				err = errors.New("the server has closed the connection")
			}
			closed(err)
		}),
		// Errors about a message are reported with the message.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if at, ok := d.ctx.Deadline(); ok {
		all = append(all, nats.Timeout(time.Until(at)))
	}
	switch {
	case cfg.CredsFile != "":
		all = append(all, nats.UserCredentials(cfg.CredsFile))
	case cfg.NKeyFile != "":
		key, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nkey: %w", err)
		}
		all = append(all, key)
	case cfg.Username != "":
		all = append(all, nats.UserInfo(cfg.Username, cfg.Password))
	case cfg.Token != "":
		all = append(all, nats.Token(cfg.Token))
	}
	if cfg.TLS != nil {
		t, err := cfg.TLS.Config("")
		if err != nil {
			return nil, err
		}
		all = append(all, nats.Secure(t))
	}
	return all, nil
}

// dialer ends with the attempt to connect, and counts. The library dials one server after the other
// and does not report why each one failed.
type dialer struct {
	ctx   context.Context
	dial  srv.DialFunc
	where string // the server dialled last
	err   error  // the last one that could not be reached
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.dial(d.ctx, network, address)
	if d.where = address; err != nil {
		d.err = err
	}
	return conn, err
}

// explained returns why there is no connection, for people.
func (d *dialer) explained(err error) error {
	var slow net.Error
	switch {
	case errors.Is(err, nats.ErrNoServers) && d.err != nil:
		return d.err
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("server %s does not use TLS: write nats:// instead of tls:// in urls", d.where)
	case errors.Is(err, nats.ErrNoInfoReceived):
		return fmt.Errorf("server %s is not a NATS server: its greeting is of another protocol", d.where)
	case errors.As(err, &slow) && slow.Timeout() && d.where != "":
		return fmt.Errorf("server %s accepts the connection but sends no greeting in time: is it a NATS server?", d.where)
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("server %s closes the connection before the handshake is complete: is it a NATS server?", d.where)
	case d.where != "":
		return fmt.Errorf("server %s: %w", d.where, err)
	}
	return err
}

type sender struct {
	cfg   Config
	maker *shape.Maker
	conn  *nats.Conn
	js    jetstream.JetStream
	meter uplink.Meter
	apart bool // the stream does not accept atomic batches

	over context.Context // ends with the connection: the library would go on waiting for answers
	end  context.CancelCauseFunc
}

// Traffic implements uplink.Metered.
func (s *sender) Traffic() (sent, received uint64) { return s.meter.Traffic() }

// Close implements uplink.Sender.
func (s *sender) Close() error {
	s.conn.Close()
	return nil
}

// Send implements uplink.Sender.
func (s *sender) Send(ctx context.Context, batch []record.Record) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.over, func() { cancel(context.Cause(s.over)) })()
	messages := s.maker.Make("", batch)
	if done, err := s.whole(ctx, batch, messages); done {
		return err
	}
	futures := make([]jetstream.PubAckFuture, 0, len(messages))
	var stopped error
	for _, m := range messages {
		var f jetstream.PubAckFuture
		if f, stopped = s.start(batch, m); stopped != nil {
			break
		}
		futures = append(futures, f)
	}
	var refused []uplink.Refusal
	taken := 0
	for i, m := range messages {
		err := stopped
		if i < len(futures) {
			err = wait(ctx, futures[i])
		}
		switch {
		case err == nil:
		case never(err):
			refused = append(refused, uplink.Refusal{Index: m.Records[0], Why: err.Error()})
			if i >= len(futures) { // nothing after it was sent
				return &uplink.RejectedError{Records: refused}
			}
		case len(refused) > 0 && ctx.Err() == nil:
			return &uplink.RejectedError{Records: refused}
		case taken > 0:
			return &uplink.PartialError{Taken: taken, Err: explained(ctx, err, m.Topic)}
		default:
			return explained(ctx, err, m.Topic)
		}
		taken = m.Records[0] + 1
	}
	if len(refused) > 0 {
		return &uplink.RejectedError{Records: refused, Taken: true}
	}
	return nil
}

// start publishes a record.
func (s *sender) start(batch []record.Record, m shape.Message) (jetstream.PubAckFuture, error) {
	msg, err := s.message(batch, m)
	if err != nil {
		return nil, err
	}
	return s.js.PublishMsgAsync(msg)
}

// message returns the message for a record. Its id makes the stream drop duplicates within its
// duplicate window.
func (s *sender) message(batch []record.Record, m shape.Message) (*nats.Msg, error) {
	payload, err := compress.Bytes(s.cfg.Compress, m.Payload)
	if err != nil {
		return nil, err
	}
	r := &batch[m.Records[0]]
	msg := nats.NewMsg(strings.ReplaceAll(m.Topic, "/", "."))
	msg.Data = payload
	msg.Header.Set("Content-Type", s.maker.ContentType)
	if s.cfg.Compress != "" {
		msg.Header.Set("Content-Encoding", s.cfg.Compress)
	}
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%s/%d", s.cfg.Who.Gateway, r.Track, r.Sequence))
	if s.cfg.Stream != "" {
		msg.Header.Set(jetstream.ExpectedStreamHeader, s.cfg.Stream)
	}
	return msg, nil
}

func wait(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// never reports whether a message will never be accepted.
func never(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.ErrorCode == tooLarge
}

// tooLarge is JetStream's code for a message larger than the stream accepts
// (JSStreamMessageExceedsMaximumErr).
const tooLarge = 10054

// otherStream is JetStream's code for a message that expects another stream than the one that
// stores its subject (JSStreamNotMatchErr).
const otherStream = 10060

func explained(ctx context.Context, err error, topic string) error {
	if errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == otherStream {
		return fmt.Errorf("subject %s belongs to another stream than the configured one", strings.ReplaceAll(topic, "/", "."))
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("no stream has subject %s", strings.ReplaceAll(topic, "/", "."))
	}
	return err
}
