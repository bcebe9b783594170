// Package tlsfiles makes TLS configs of listeners whose certificates are PEM files that may be
// renewed at run time: each handshake uses the present files, and existing connections stay. Client
// does the same for clients.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Files are the TLS files of a listener.
type Files struct {
	Certificate string // our certificate, with its chain
	Key         string // key of our certificate
	// One or more authorities that sign client certificates; empty: clients need none.
	CA       string
	Required bool // a client must present a certificate
}

// lookEvery is the shortest interval between checks of the files.
const lookEvery = time.Second

// Config returns a config for TLS 1.2 or later that uses the files, which must be valid now; errors
// name config keys. If they become invalid later, the last valid ones stay in force, and trouble,
// if not nil, is called with the reason in the goroutine of a handshake.
func (f Files) Config(trouble func(error)) (*tls.Config, error) {
	if trouble == nil {
		trouble = func(error) {}
	}
	r := &reader{files: f, trouble: trouble}
	if err := r.read(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.now(), nil },
	}, nil
}

// reader keeps the last valid content of the files.
type reader struct {
	files   Files
	trouble func(error)

	mu     sync.Mutex
	good   *tls.Config
	seen   []stamp
	looked time.Time
}

// stamp identifies a version of a file.
type stamp struct {
	modified time.Time
	size     int64
}

func (r *reader) now() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) >= lookEvery {
		r.looked = time.Now()
		if !slices.Equal(r.stamps(), r.seen) {
			if err := r.read(); err != nil {
				r.trouble(fmt.Errorf("cannot load the renewed certificates, the previous ones stay in use: %w", err))
			}
		}
	}
	return r.good
}

// Suites returns the TLS 1.2 cipher suites with authenticated encryption and forward secrecy; TLS
// 1.3 has no others.
func Suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// read reads the present files. Invalid files are not read again until they change.
func (r *reader) read() error {
	r.seen, r.looked = r.stamps(), time.Now()
	own, err := tls.LoadX509KeyPair(r.files.Certificate, r.files.Key)
	if err != nil {
		return fmt.Errorf("cert-file %s with key-file %s: %w", r.files.Certificate, r.files.Key, err)
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: Suites(), Certificates: []tls.Certificate{own},
		// Go's tickets last a week; each connection is to present what is in force now.
		SessionTicketsDisabled: true,
	}
	if r.files.CA != "" {
		if cfg.ClientCAs, err = pool(r.files.CA); err != nil {
			return err
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if r.files.Required {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if r.files.Required && r.files.CA == "" {
		return errors.New("clients must present a certificate: set ca-file to verify it")
	}
	r.good = cfg
	return nil
}

func pool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca-file: %w", err)
	}
	all := x509.NewCertPool()
	if !all.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca-file %s: no certificate in it", file)
	}
	return all, nil
}

func (r *reader) stamps() []stamp {
	var all []stamp
	for _, name := range []string{r.files.Certificate, r.files.Key, r.files.CA} {
		var s stamp
		if info, err := os.Stat(name); err == nil {
			s = stamp{info.ModTime(), info.Size()}
		}
		all = append(all, s)
	}
	return all
}
