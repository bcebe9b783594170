package httpsend_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"gatewayd/protocols/httpsend"
	"gatewayd/protocols/record"
	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/uplink"
)

// lines encodes the sequences of a batch in one body, or in one for each record.
func lines(singly bool) func([]record.Record) []httpsend.Body {
	return func(batch []record.Record) (all []httpsend.Body) {
		for i, r := range batch {
			if i == 0 || singly {
				all = append(all, httpsend.Body{})
			}
			b := &all[len(all)-1]
			b.Payload = fmt.Appendf(b.Payload, "%d\n", r.Sequence)
			b.Records = append(b.Records, i)
		}
		return all
	}
}

func batch(sequences ...uint64) (all []record.Record) {
	for _, s := range sequences {
		all = append(all, record.Record{Sequence: s})
	}
	return all
}

func send(t *testing.T, cfg httpsend.Config, b []record.Record) error {
	t.Helper()
	if cfg.Encode == nil {
		cfg.Encode = lines(false)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := cfg.Dial(ctx, uplink.Callbacks{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	err = s.Send(ctx, b)
	if sent, _ := s.(uplink.Metered).Traffic(); err == nil && sent < 50 {
		t.Errorf("%d bytes sent", sent)
	}
	return err
}

func TestRequests(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  httpsend.Config
		want string
	}{
		"plain":       {httpsend.Config{ContentType: "text/plain"}, "POST text/plain []  1\n2\n"},
		"gzip":        {httpsend.Config{Compress: "gzip", Method: "PUT"}, "PUT  [gzip]  1\n2\n"},
		"zstd":        {httpsend.Config{Compress: "zstd"}, "POST  [zstd]  1\n2\n"},
		"a token":     {httpsend.Config{Token: "abc"}, "POST  [] Bearer abc 1\n2\n"},
		"from a file": {httpsend.Config{TokenFile: token}, "POST  [] Bearer secret 1\n2\n"},
		"a password":  {httpsend.Config{Username: "Ann", Password: "x"}, "POST  [] Basic QW5uOng= 1\n2\n"},
		"a header":    {httpsend.Config{Headers: [][2]string{{"authorization", "Token t"}}}, "POST  [] Token t 1\n2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				var body io.Reader = q.Body
				switch q.Header.Get("Content-Encoding") {
				case "gzip":
					body, _ = gzip.NewReader(q.Body)
				case "zstd":
					z, _ := zstd.NewReader(q.Body)
					defer z.Close()
					body = z
				}
				raw, err := io.ReadAll(body)
				if err != nil {
					t.Error(err)
				}
				got = fmt.Sprintf("%s %s %v %s %s", q.Method, q.Header.Get("Content-Type"), q.Header["Content-Encoding"], q.Header.Get("Authorization"), raw)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer far.Close()
			tt.cfg.URL = far.URL + "/in"
			if err := send(t, tt.cfg, batch(1, 2)); err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	status, header, body := 0, http.Header{}, ""
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer far.Close()
	for _, tt := range []struct {
		status   int
		retry    string
		body     string
		otlp     bool
		rejected bool
		after    int
		says     string // "": acknowledged
	}{
		{status: 200}, {status: 202}, {status: 204},
		{status: 400, body: "no such field", rejected: true, says: "no such field"}, {status: 413, rejected: true, says: "413"}, {status: 422, rejected: true, says: "422"},
		{status: 401, says: "401 Unauthorized"}, {status: 404, says: "404"}, {status: 301, says: "301"}, {status: 500, body: "oh\nno", says: "oh no"},
		{status: 503, retry: "120", after: 120, says: "503"}, {status: 429, retry: "99999999", after: 86400, says: "429"}, {status: 429, retry: "Fri, 01 Jan 2010 00:00:00 GMT", says: "429"},
		{status: 200, otlp: true, body: `{"partialSuccess":{}}`}, {status: 200, otlp: true, body: `{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"too old"}}`, rejected: true, says: "too old"},
		{status: 200, otlp: true, body: `not JSON`},
	} {
		status, header, body = tt.status, http.Header{"Content-Type": {"application/json"}}, tt.body
		if tt.retry != "" {
			header.Set("Retry-After", tt.retry)
		}
		err := send(t, httpsend.Config{URL: far.URL, OTLP: tt.otlp}, batch(1, 2))
		var rejected *uplink.RejectedError
		var later uplink.RetryAfterError
		after := 0
		if errors.As(err, &later) {
			after = later.RetryAfter()
		}
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) || errors.As(err, &rejected) != tt.rejected || after != tt.after {
			t.Errorf("%d %s: %v, after %d", tt.status, tt.body, err, after)
		}
	}
}

// A captive portal answers instead of the server that it blocks.
func TestAPortalAcknowledgesNothing(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html>Welcome to the hotel</html>"))
	}))
	defer far.Close()
	var rejected *uplink.RejectedError
	if err := send(t, httpsend.Config{URL: far.URL, NoPage: true}, batch(1, 2)); err == nil || !strings.Contains(err.Error(), "200 OK with a web page") || errors.As(err, &rejected) {
		t.Errorf("%v", err)
	}
	if err := send(t, httpsend.Config{URL: far.URL}, batch(1, 2)); err != nil {
		t.Error(err)
	}
}

// If each record is a request, it is clear which ones are refused.
func TestOneByOne(t *testing.T) {
	fail := map[string]int{}
	var got []string
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw, _ := io.ReadAll(q.Body)
		line := strings.TrimSpace(string(raw))
		if fail[line] != 0 {
			w.WriteHeader(fail[line])
			return
		}
		got = append(got, line)
	}))
	defer far.Close()
	cfg := httpsend.Config{URL: far.URL, Encode: lines(true)}

	fail["2"] = 422
	err := send(t, cfg, batch(1, 2, 3))
	var rejected *uplink.RejectedError
	if !errors.As(err, &rejected) || !rejected.Taken || len(rejected.Records) != 1 || rejected.Records[0].Index != 1 || !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("%v, %v", err, got)
	}
	fail["2"], got = 503, nil
	err = send(t, cfg, batch(1, 2, 3))
	var partial *uplink.PartialError
	if !errors.As(err, &partial) || partial.Taken != 1 || !slices.Equal(got, []string{"1"}) {
		t.Errorf("%v, %v", err, got)
	}
	got = nil
	if err = send(t, cfg, batch(2, 3)); err == nil || errors.As(err, &partial) || got != nil {
		t.Errorf("%v, %v", err, got)
	}
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	far := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if len(q.TLS.PeerCertificates) != 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	far.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	far.Config.ErrorLog = nil
	far.StartTLS()
	defer far.Close()
	ca, cert, key := pems(t, dir, far)
	for name, tt := range map[string]struct {
		files tlsfiles.Client
		says  string
	}{
		"mutual":            {tlsfiles.Client{CA: ca, Cert: cert, Key: key, ServerName: "example.com"}, ""},
		"no certificate":    {tlsfiles.Client{CA: ca, ServerName: "example.com"}, "403"},
		"unknown authority": {tlsfiles.Client{ServerName: "example.com"}, "unknown authority"},
		"another name":      {tlsfiles.Client{CA: ca, ServerName: "other.org"}, "other.org"},
		"no such file":      {tlsfiles.Client{CA: ca + "x"}, "ca-file"},
	} {
		err := send(t, httpsend.Config{URL: far.URL, TLS: tt.files}, batch(1))
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	err := send(t, httpsend.Config{URL: "http://user:secret@127.0.0.1:1/in"}, batch(1))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "http://127.0.0.1:1/in: ") {
		t.Error(err)
	}
}

func TestASilentServer(t *testing.T) {
	hold := make(chan struct{})
	far := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer far.Close()
	defer close(hold)
	s, err := httpsend.Config{URL: far.URL, Encode: lines(false)}.Dial(context.Background(), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, batch(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A web service named by an SRV record is found, and its certificate must be for the target.
func TestServiceByDNS(t *testing.T) {
	hosts := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host + r.URL.Path }))
	t.Cleanup(web.Close)
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	const name = "_ingest._tcp.example.com"
	cfg := httpsend.Config{
		URL: "http+srv://" + name + "/v1", Resolver: srvtest.Run(t, name, "1", port),
		Encode: func([]record.Record) []httpsend.Body {
			return []httpsend.Body{{Payload: []byte("{}"), Records: []int{0}}}
		},
	}
	s, err := cfg.Dial(t.Context(), uplink.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Send(t.Context(), make([]record.Record, 1)); err != nil {
		t.Fatal(err)
	}
	if at := <-hosts; at != srvtest.Host+":"+port+"/v1" {
		t.Error(at)
	}
}
