// Package httpsend sends batches of records by HTTP. A batch, or each of its records, is one
// request, which a 2xx status acknowledges. It provides an uplink.Sender.
package httpsend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/compress"
	"gatewayd/protocols/record"
	"gatewayd/protocols/srv"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/uplink"
)

// Config says where and in what form to send.
type Config struct {
	URL      string       // with +srv a service: https+srv://_ingest._tcp.example.com/path
	Resolver srv.Resolver // resolves services
	Method   string       // POST or PUT; empty: POST
	Headers  [][2]string
	Compress string // "", "gzip" or "zstd"

	Token, TokenFile   string // bearer token; the file is read for each request
	Username, Password string
	TLS                tlsfiles.Client

	ContentType string
	// Encode returns the bodies for a batch, each with the indexes of its records; each record is
	// in exactly one.
	Encode func(batch []record.Record) []Body
	// OTLP checks the answer for records that were not accepted.
	OTLP bool
	// NoPage does not accept a web page as an acknowledgement, for servers that never return one
	// but may be behind a captive portal that does.
	NoPage bool
}

// Body is the body of one request.
type Body struct {
	Payload []byte
	Records []int
}

// Dial implements uplink.Dial. It reads the certificates; whether the server is reachable shows
// with the first batch.
func (cfg Config) Dial(ctx context.Context, _ uplink.Callbacks) (uplink.Sender, error) {
	s := &sender{cfg: cfg, meter: &uplink.Meter{}}
	at, dial, err := cfg.Resolver.Endpoint(ctx, cfg.URL, s.meter.DialContext)
	if err != nil {
		return nil, err
	}
	s.cfg.URL = at
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL", at)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, DisableCompression: true, MaxIdleConns: 1, MaxConnsPerHost: 1,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 30 * time.Second,
	}
	if u.Scheme == "https" {
		if transport.TLSClientConfig, err = cfg.TLS.Config(u.Hostname()); err != nil {
			return nil, err
		}
	}
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

type sender struct {
	cfg    Config
	client *http.Client
	meter  *uplink.Meter
}

// Traffic implements uplink.Metered.
func (s *sender) Traffic() (sent, received uint64) { return s.meter.Traffic() }

// Close implements uplink.Sender.
func (s *sender) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Send implements uplink.Sender.
func (s *sender) Send(ctx context.Context, batch []record.Record) error {
	bodies := s.cfg.Encode(batch)
	var refused []uplink.Refusal
	taken := 0
	for _, b := range bodies {
		err := s.post(ctx, b.Payload)
		var rejected *uplink.RejectedError
		switch {
		case errors.As(err, &rejected) && len(b.Records) == 1:
			refused = append(refused, uplink.Refusal{Index: b.Records[0], Why: rejected.Why})
		case errors.As(err, &rejected) && len(bodies) == 1:
			return rejected
		case err != nil && taken > 0 && len(refused) == 0:
			return &uplink.PartialError{Taken: taken, Err: err}
		case err != nil && len(refused) > 0 && ctx.Err() == nil && !errors.As(err, new(uplink.RetryAfterError)):
			return &uplink.RejectedError{Records: refused} // the others are sent again
		case err != nil:
			return err
		}
		taken = b.Records[len(b.Records)-1] + 1
	}
	if len(refused) > 0 {
		return &uplink.RejectedError{Records: refused, Taken: true}
	}
	return nil
}

// maxAnswer is the number of bytes read of an answer.
const maxAnswer = 64 << 10

func (s *sender) post(ctx context.Context, payload []byte) error {
	q, err := s.request(ctx, payload)
	if err != nil {
		return err
	}
	a, err := s.client.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which is known and may contain secrets
		}
		return fmt.Errorf("%s: %w", s.place(), err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if a.StatusCode/100 == 2 {
		typ, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if s.cfg.NoPage && typ == "text/html" {
			return fmt.Errorf("%s: %s with a web page: the answer comes from a captive portal or from another service", s.place(), a.Status)
		}
		if s.cfg.OTLP && err == nil {
			return partialSuccess(a.Header.Get("Content-Type"), body)
		}
		return nil // the server has acknowledged it
	}
	return s.refusal(a, body)
}

func (s *sender) place() string {
	u, _ := url.Parse(s.cfg.URL) // parsed successfully before
	return u.Scheme + "://" + u.Host + u.Path
}

func (s *sender) request(ctx context.Context, payload []byte) (*http.Request, error) {
	cfg := s.cfg
	payload, err := compress.Bytes(cfg.Compress, payload)
	if err != nil {
		return nil, err
	}
	method := cfg.Method
	if method == "" {
		method = http.MethodPost
	}
	q, err := http.NewRequestWithContext(ctx, method, cfg.URL, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", cfg.ContentType)
	q.Header.Set("User-Agent", "gatewayd")
	if cfg.Compress != "" {
		q.Header.Set("Content-Encoding", cfg.Compress)
	}
	token := cfg.Token
	if cfg.TokenFile != "" {
		raw, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		token = strings.TrimSpace(string(raw))
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	if cfg.Username != "" {
		q.SetBasicAuth(cfg.Username, cfg.Password)
	}
	for _, h := range cfg.Headers {
		q.Header.Set(h[0], h[1])
	}
	return q, nil
}

// refusal returns the error for a status other than 2xx: either the content will never be accepted,
// or something else is wrong.
func (s *sender) refusal(a *http.Response, body []byte) error {
	why := a.Status
	if said := oneLine(body); said != "" {
		why += ": " + said
	}
	switch a.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return &uplink.RejectedError{Why: why}
	}
	if to := a.Header.Get("Location"); a.StatusCode/100 == 3 && to != "" {
		why += fmt.Sprintf(": redirects are not followed; if %q is right, set it as url", to)
	}
	err := fmt.Errorf("%s: %s", s.place(), why)
	if d := retryAfter(a.Header.Get("Retry-After"), time.Now()); d > 0 {
		return &later{err, d}
	}
	return err
}

// longest is the longest Retry-After that is honoured, in seconds.
const longest = 24 * 3600

func retryAfter(s string, now time.Time) int {
	if n, err := strconv.Atoi(s); err == nil {
		return min(max(n, 0), longest)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(int(t.Sub(now).Seconds()+0.999), 0), longest)
	}
	return 0
}

// later is an uplink.RetryAfterError.
type later struct {
	error
	seconds int
}

func (l *later) RetryAfter() int { return l.seconds }
func (l *later) Unwrap() error   { return l.error }

// partialSuccess returns what an OTLP answer says about records that were not accepted; it does not
// say which.
func partialSuccess(typ string, body []byte) error {
	if !strings.HasPrefix(typ, "application/json") {
		return partialProtobuf(body)
	}
	var m struct {
		PartialSuccess struct {
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(body, &m) != nil {
		return nil
	}
	if n, err := m.PartialSuccess.RejectedDataPoints.Int64(); err == nil && n > 0 {
		return &uplink.RejectedError{Why: m.PartialSuccess.ErrorMessage}
	}
	return nil
}

func oneLine(b []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "?")), " ")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
