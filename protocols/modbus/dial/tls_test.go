package dial_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
	"gatewayd/protocols/modbus/peer"
)

func connect(t *testing.T, address string, f dial.Files) (*tls.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return dial.TLS(ctx, address, 30*time.Second, f)
}

func TestAskPymodbusOverTLS(t *testing.T) {
	ca, port := newAuthority(t, "ca"), freeport.Port(t)
	cert, key := ca.issue("meter.example", nil)
	peer.Start(t, append(peer.Pymodbus(t, "testdata/peer.py"), "server", "tls", port, cert, key, ca.file)...)
	var conn *tls.Conn
	eventually(t, func() (err error) {
		conn, err = connect(t, "127.0.0.1:"+port, ca.files())
		return err
	})
	defer conn.Close()
	readsMeter(t, modbus.NewLink(conn, modbus.TCP, modbus.Options{}))
}

func TestPymodbusAsksOurTLSServer(t *testing.T) {
	ca := newAuthority(t, "ca")
	// The address the client asks for.
	cert, key := ca.issue("meter.example", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	secure := &tls.Config{Certificates: keyPair(t, cert, key), ClientCAs: pool(ca), ClientAuth: tls.RequireAndVerifyClientCert}
	go func() { done <- plant().ServeTCP(ctx, tls.NewListener(l, secure)) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	f := ca.files()
	peer.Run(t, append(peer.Pymodbus(t, "testdata/peer.py"), "client", "tls", port, f.Certificate, f.Key, ca.file)...)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func pool(a *authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// far runs a TLS server that handles one connection per client with serve. It reports the state of
// successful handshakes.
func far(t *testing.T, cfg *tls.Config, serve func(net.Conn)) (string, <-chan tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states, done := make(chan tls.ConnectionState, 16), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if cfg != nil {
				s := tls.Server(c, cfg)
				if s.Handshake() == nil {
					states <- s.ConnectionState()
				}
				c = s
			}
			if serve != nil {
				serve(c)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), states
}

func keyPair(t *testing.T, cert, key string) []tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

func TestServerSeesOurRole(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.issue("meter.example", nil)
	at, states := far(t, &tls.Config{Certificates: keyPair(t, cert, key), ClientAuth: tls.RequireAnyClientCert}, nil)
	c, err := connect(t, at, ca.files())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, e := range (<-states).PeerCertificates[0].Extensions {
		var role string
		if e.Id.Equal(roleOID) {
			if _, err := asn1.Unmarshal(e.Value, &role); err != nil || role != "Operator" {
				t.Error(role, err)
			}
			return
		}
	}
	t.Error("no role")
}

func TestReasonNamesWhatIsWrong(t *testing.T) {
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	expired := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	other := func(c *x509.Certificate) { c.DNSNames = []string{"pump.example"} }
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	for name, c := range map[string]struct {
		by     *authority
		change func(*x509.Certificate)
		want   string
	}{
		"expired": {ca, expired, "the device's certificate is valid from"},
		"foreign": {foreign, nil, "signed by an authority that is not in ca"},
		"name":    {ca, other, "for another name: certificate is valid for pump.example, not meter.example"},
		"usage":   {ca, client, "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := c.by.issue("meter.example", c.change)
			at, _ := far(t, &tls.Config{Certificates: keyPair(t, cert, key)}, nil)
			if _, err := connect(t, at, ca.files()); err == nil || !strings.Contains(dial.Reason(err), c.want) {
				t.Errorf("%v", err)
			} else {
				t.Log(dial.Reason(err))
			}
		})
	}
}

func TestPinnedCertificateNeedsNoName(t *testing.T) {
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	cert, key := foreign.issue("pump.example", nil)
	at, _ := far(t, &tls.Config{Certificates: keyPair(t, cert, key)}, nil)
	f := ca.files()
	f.CA = cert
	c, err := connect(t, at, f)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// The files are read for each connection.
func TestRenewedCertificateCounts(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.issue("meter.example", nil)
	at, states := far(t, &tls.Config{Certificates: keyPair(t, cert, key), ClientAuth: tls.RequireAnyClientCert}, nil)
	f := ca.files()
	var serials [2]string
	for i := range serials {
		c, err := connect(t, at, f)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		serials[i] = (<-states).PeerCertificates[0].SerialNumber.String()
		ca.issue("gateway.example", nil)
	}
	if serials[0] == serials[1] {
		t.Error("the old certificate was shown again")
	}
}

func TestOurFilesAreNamed(t *testing.T) {
	good := newAuthority(t, "ca").files()
	for name, spoil := range map[string]func(*dial.Files){
		"cert-file": func(f *dial.Files) { f.Certificate = "/nowhere.pem" },
		"key-file":  func(f *dial.Files) { f.Key = f.CA },
		"ca-file":   func(f *dial.Files) { f.CA = f.Key },
	} {
		f := good
		spoil(&f)
		_, err := connect(t, "127.0.0.1:1", f)
		if err == nil || !strings.Contains(dial.Reason(err), name) || !strings.Contains(dial.Reason(err), "/") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Servers that stall, speak another protocol or disconnect during the handshake.
func TestHandshakeFaults(t *testing.T) {
	ca := newAuthority(t, "ca")
	release := make(chan struct{})
	for name, c := range map[string]struct {
		serve  func(net.Conn)
		within time.Duration
		want   string
	}{
		"stalls":  {func(net.Conn) { <-release }, 300 * time.Millisecond, "the TLS handshake does not end"},
		"garbage": {func(c net.Conn) { _, _ = c.Write([]byte("220 welcome to the FTP server\r\n")) }, time.Minute, "does not speak TLS"},
		"leaves":  {func(net.Conn) {}, time.Minute, "closed the connection in the TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			at, _ := far(t, nil, c.serve)
			ctx, cancel := context.WithTimeout(context.Background(), c.within)
			defer cancel()
			_, err := dial.TLS(ctx, at, time.Minute, ca.files())
			if err == nil || !strings.Contains(dial.Reason(err), c.want) {
				t.Errorf("%v", err)
			}
			if name == "stalls" {
				close(release)
			}
		})
	}
}

// OpenSSL's server verifies our certificate before the handshake is over (TLS 1.2) or after it
// (1.3), and offers outdated versions.
func TestOpenSSLJudgesUs(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing: apt-get install -y openssl")
	}
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	cert, key := ca.issue("meter.example", nil)
	stranger := foreign.files()
	stranger.CA = ca.file
	for name, c := range map[string]struct {
		version string
		files   dial.Files
		want    string
	}{
		"good 1.2":    {"-tls1_2", ca.files(), ""},
		"good 1.3":    {"-tls1_3", ca.files(), ""},
		"unknown 1.2": {"-tls1_2", stranger, `unknown certificate authority" for our certificate`},
		"unknown 1.3": {"-tls1_3", stranger, `unknown certificate authority" for our certificate`},
		"old":         {"-tls1_1", ca.files(), "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			port := freeport.Port(t)
			peer.Start(t, openssl, "s_server", "-quiet", "-accept", "127.0.0.1:"+port, "-cert", cert, "-key", key, "-CAfile", ca.file, "-Verify", "1",
				"-verify_return_error", c.version, "-cipher", "ALL:@SECLEVEL=0")
			eventually(t, func() error {
				p, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err == nil {
					_ = p.Close()
				}
				return err
			})
			conn, err := connect(t, "127.0.0.1:"+port, c.files)
			if err == nil {
				defer conn.Close()
				patience := 30 * time.Second
				if c.want == "" { // it has nothing to report
					patience = 500 * time.Millisecond
				}
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				_, err = conn.Read(make([]byte, 1))
				if os.IsTimeout(err) || err == io.EOF {
					err = nil
				}
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(dial.Reason(err), c.want)):
				t.Errorf("%v", err)
			case err != nil:
				t.Log(dial.Reason(err))
			}
		})
	}
}
