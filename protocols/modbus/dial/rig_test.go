package dial_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
)

var roleOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 50316, 802, 1}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates and writes them to files.
type authority struct {
	t    *testing.T
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.file = a.write(name, "CERTIFICATE", a.cert.Raw)
	return a
}

// sign completes a certificate and signs it; the first one signs itself.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name+"."+strings.ReplaceAll(kind, " ", "-"))
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue signs a certificate, which change may spoil. It returns the files of certificate and key.
func (a *authority) issue(name string, change func(*x509.Certificate)) (cert, key string) {
	a.t.Helper()
	role, err := asn1.MarshalWithParams("Operator", "utf8")
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{{Id: roleOID, Value: role}},
	}
	if change != nil {
		change(c)
	}
	signed, private := a.sign(c)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name, "CERTIFICATE", signed.Raw), a.write(name, "PRIVATE KEY", der)
}

// files returns the files of a client of this authority that expects meter.example.
func (a *authority) files() dial.Files {
	a.t.Helper()
	cert, key := a.issue("gateway.example", nil)
	return dial.Files{Certificate: cert, Key: key, CA: a.file, Name: "meter.example"}
}

// eventually retries, because a server may still be starting.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// readsMeter reads registers that contain their own address, and writes some.
func readsMeter(t *testing.T, l *modbus.Link) {
	t.Helper()
	for first := uint16(0); first < 100; first += 10 {
		got, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: first, Quantity: 10})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if got.Register(i) != first+uint16(i) {
				t.Fatalf("register %d holds %d", int(first)+i, got.Register(i))
			}
		}
	}
	w := modbus.Request{Unit: 7, Function: modbus.WriteMultipleRegisters, Address: 100, Quantity: 2, Data: []byte{0, 1, 0, 2}}
	if _, err := l.Do(context.Background(), w); err != nil {
		t.Fatal(err)
	}
}
