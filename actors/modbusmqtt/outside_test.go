package modbusmqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusmqtt"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient/mosquitto"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestAControllerAtAnOutsideBroker(t *testing.T) {
	_, address := plc(t)
	r := actorstest.New(t)
	field(r, address)
	listen := freeport.Address(t)
	stop := mosquitto.Start(t, listen, mosquitto.Anybody)
	host, port, _ := net.SplitHostPort(listen)
	kept := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-t", "request", "-r", "-m", "1 1 rs485 1 1 6 100 4711")
	if out, err := kept.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
	audit := actorstest.Watch(r, "event/field/#", &modbusv1.Audited{})
	cell := r.Start(doorPath, modbusmqtt.Kind, &modbusv1.ModbusMqtt{Url: "tcp://" + listen, Login: &mqttv1.Login{ClientId: "me"},
		Targets: []*modbusv1.MqttTarget{{Device: "rs485", Unit: unitPath}}})
	r.Until("connected", func() bool { return cell.State() == actors.OK })
	for line, want := range map[string]string{
		"1 42 rs485 5 1 3 1 3": "42 OK 0 10 20", "1 43 rs485 5 1 16 101 2 1,2": "43 OK", "1 44 rs485 5 1 6 1 1": "44 ERROR: MESSAGE BLOCKED", "x": "0 ERROR: INVALID REQUEST",
	} {
		if got := ask(t, listen, "controller", line); got != want {
			t.Errorf("%q is answered with %q, want %q", line, got, want)
		}
	}
	for range 2 { // the retained write must not be carried out
		if got := actorstest.Next(t, audit); got.Caller != "cookie/me" || got.GetAddress() == 99 {
			t.Errorf("audited %v", got)
		}
	}
	stop()
	r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
	mosquitto.Start(t, listen, mosquitto.Anybody)
	r.Until("connected again", func() bool { return cell.State() == actors.OK })
	if got := ask(t, listen, "controller", "1 45 rs485 5 1 3 2 1"); got != "45 OK 10" {
		t.Error(got)
	}
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

func TestMutualTLS(t *testing.T) {
	_, address := plc(t)
	dir, listen := t.TempDir(), freeport.Address(t)
	ca := authority(t, dir, "ca")
	ca.issue("broker")
	ca.issue("gateway")
	authority(t, dir, "stranger")
	in := func(name string) string { return filepath.Join(dir, name) }
	mosquitto.Start(t, listen, fmt.Sprintf("require_certificate true\nuse_identity_as_username true\ncafile %s\ncertfile %s\nkeyfile %s\n", in("ca.pem"), in("broker.pem"), in("broker.key")))
	for name, x := range map[string]struct {
		tls  *tlsv1.Client
		want string // part of the cause of the health; empty: it connects
	}{
		"mutual":           {&tlsv1.Client{CaFile: in("ca.pem"), CertFile: in("gateway.pem"), KeyFile: in("gateway.key")}, ""},
		"no certificate":   {&tlsv1.Client{CaFile: in("ca.pem")}, "broker ssl://"},
		"another broker":   {&tlsv1.Client{CaFile: in("stranger.pem"), CertFile: in("gateway.pem"), KeyFile: in("gateway.key")}, "unknown authority"},
		"another name":     {&tlsv1.Client{CaFile: in("ca.pem"), ServerName: "example.com"}, "example.com"},
		"no such file":     {&tlsv1.Client{CaFile: in("nothing.pem")}, "nothing.pem"},
		"no authority":     {&tlsv1.Client{CaFile: in("ca.key")}, "ca-file "},
		"half a key pair":  {&tlsv1.Client{CertFile: in("gateway.pem"), KeyFile: in("nothing.key")}, "cert-file "},
		"the wrong secret": {&tlsv1.Client{CertFile: in("gateway.pem"), KeyFile: in("broker.key")}, "cert-file "},
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			field(r, address)
			cell := r.Start(doorPath, modbusmqtt.Kind, &modbusv1.ModbusMqtt{Url: "ssl://" + listen, Login: &mqttv1.Login{ClientId: "me"}, Tls: x.tls, Targets: []*modbusv1.MqttTarget{{Device: "rs485", Unit: unitPath}}})
			if x.want == "" {
				r.Until("connected", func() bool { return cell.State() == actors.OK })
				got := ask(t, listen, "controller", "1 42 rs485 5 1 3 2 1", "-V", "311", "-e", "response",
					"--cafile", in("ca.pem"), "--cert", in("gateway.pem"), "--key", in("gateway.key"))
				if got != "42 OK 10" {
					t.Error(got)
				}
				return
			}
			r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
			if cause := cell.Health().Cause; !strings.Contains(cause, x.want) {
				t.Errorf("because of %q, want %q", cause, x.want)
			}
		})
	}
}

// issuer signs certificates for 127.0.0.1.
type issuer struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func authority(t *testing.T, dir, name string) *issuer {
	i := &issuer{t: t, dir: dir}
	i.cert, i.key = i.make(name, true)
	return i
}

func (i *issuer) issue(name string) { i.make(name, false) }

func (i *issuer) make(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	by, with := i.cert, i.key
	if ca {
		c.KeyUsage |= x509.KeyUsageCertSign
		by, with = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		i.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(i.dir, file), pem.EncodeToMemory(block), 0o644); err != nil {
			i.t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return parsed, key
}

// Only the configured topics are used, with our broker and with an outside one.
func TestTopicsOfOnesOwn(t *testing.T) {
	const asks, answers = "plant/7/ask", "plant/7/answer"
	_, address := plc(t)
	own := func(cfg *modbusv1.ModbusMqtt) { cfg.RequestTopic, cfg.ResponseTopic = asks, answers }
	for name, begin := range map[string]func(t *testing.T, r *actorstest.Rig) string{
		"ours": func(t *testing.T, r *actorstest.Rig) string { return inside(t, r, address, own) },
		"another": func(t *testing.T, r *actorstest.Rig) string {
			field(r, address)
			listen := freeport.Address(t)
			mosquitto.Start(t, listen, mosquitto.Anybody)
			cfg := &modbusv1.ModbusMqtt{Url: "tcp://" + listen, Login: &mqttv1.Login{ClientId: "me"}, Targets: []*modbusv1.MqttTarget{{Device: "rs485", Unit: unitPath}}}
			own(cfg)
			cell := r.Start(doorPath, modbusmqtt.Kind, cfg)
			r.Until("connected", func() bool { return cell.State() == actors.OK })
			return listen
		},
	} {
		t.Run(name, func(t *testing.T) {
			host, port, _ := net.SplitHostPort(begin(t, actorstest.New(t)))
			id := map[string]string{"ours": "me", "another": "controller"}[name]
			say := func(topic, wait string) (string, error) {
				out, err := exec.Command("mosquitto_rr", "-h", host, "-p", port, "-V", "311", "-i", id, "-t", topic, "-e", answers, "-m", "1 42 rs485 5 1 3 2 1", "-W", wait).CombinedOutput()
				return strings.TrimSpace(string(out)), err
			}
			if got, err := say(asks, "30"); err != nil || got != "42 OK 10" {
				t.Errorf("%v, %q", err, got)
			}
			if got, err := say("request", "1"); err == nil {
				t.Errorf("asked on the usual topic it answers %q", got)
			}
		})
	}
}
