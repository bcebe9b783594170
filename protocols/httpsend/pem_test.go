package httpsend_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// pems writes the certificates and key of a test server as files: its authority, and a client's
// pair.
func pems(t *testing.T, dir string, s *httptest.Server) (ca, cert, key string) {
	t.Helper()
	own := s.TLS.Certificates[0]
	secret, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("ca.pem", "CERTIFICATE", s.Certificate().Raw), write("own.pem", "CERTIFICATE", own.Certificate[0]), write("own.key", "PRIVATE KEY", secret)
}
