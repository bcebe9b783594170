package modbusserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// plant starts a polled device of 600 points and a server that shows each at the same address as in
// the device. The device is polled only once, so that no poll delayed by a busy machine makes a
// value stale.
func plant(t *testing.T, r *actorstest.Rig, cfg *modbusv1.Server) {
	t.Helper()
	d := meter(t, r)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, i)
		d.Put(sim.InputRegisters, i, 1000+i)
	}
	for i := range uint16(100) {
		on := uint16(0)
		if i%3 == 0 {
			on = 1
		}
		d.Put(sim.Coils, i, on)
		d.Put(sim.DiscreteInputs, i, 1-on)
	}
	unit := &modbusv1.Unit{Link: linkPath, Unit: 7, Every: ms(3_600_000), Timeout: ms(10_000)}
	cfg.MaxAge, cfg.WriteTimeout = ms(0), ms(30_000)
	number := uint32(7)
	for area, n := range map[string]uint32{"holding": 200, "input": 200, "coil": 100, "discrete-input": 100} {
		for i := range n {
			name := fmt.Sprintf("%s-%d", area, i)
			unit.Points = append(unit.Points, &modbusv1.Point{Name: name, Area: area, Address: i})
			cfg.Points = append(cfg.Points, &modbusv1.ServedPoint{
				From: "field/plant/all", Point: name, Unit: &number, Area: area, Address: i, Writable: area == "holding" || area == "coil",
			})
		}
	}
	r.Until("the device is there", func() bool { return r.System.Lookup(linkPath).State() == actors.OK })
	begin(t, r, cfg)
	r.Start("field/plant/all", modbusunit.Kind, unit)
}

// filled waits until every point has a value.
func filled(t *testing.T, r *actorstest.Rig, port string) {
	l := client(t, port)
	for _, q := range []modbus.Request{
		{Function: modbus.ReadHoldingRegisters, Quantity: 100}, {Function: modbus.ReadHoldingRegisters, Address: 100, Quantity: 100},
		{Function: modbus.ReadInputRegisters, Quantity: 100}, {Function: modbus.ReadInputRegisters, Address: 100, Quantity: 100},
		{Function: modbus.ReadCoils, Quantity: 100}, {Function: modbus.ReadDiscreteInputs, Quantity: 100},
	} {
		q.Unit = 7
		reads(t, r, l, q, func(modbus.Response) bool { return true })
	}
}

func TestRealClientsOverTCP(t *testing.T) {
	for name, argv := range map[string][]string{
		"libmodbus": peer.Libmodbus(t, "testdata/client.c"), "pymodbus": peer.Pymodbus(t, "testdata/client.py"),
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			port := freeport.Port(t)
			plant(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}})
			filled(t, r, port)
			peer.Run(t, append(argv, "tcp", port)...)
		})
	}
}

// JavaScript clients get the same answers, over Modbus TCP and with RTU frames over TCP.
func TestRealClientsOfJavaScript(t *testing.T) {
	for _, x := range []struct{ library, framing string }{{"jsmodbus", "tcp"}, {"modbus-serial", "tcp"}, {"modbus-serial", "rtu"}} {
		t.Run(x.library+"/"+x.framing, func(t *testing.T) {
			r := actorstest.New(t)
			port, plain := freeport.Port(t), freeport.Port(t)
			plant(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port, Framing: x.framing}, {Listen: "127.0.0.1:" + plain}}})
			filled(t, r, plain)
			kind := map[string]string{"tcp": "tcp", "rtu": "rtutcp"}[x.framing]
			out, err := exec.Command("node", "../../protocols/modbus/testdata/npm/client.js", x.library, kind, port, "basic").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s\nif a module is missing: sh packaging/npm.sh", err, out)
			}
		})
	}
}

func TestRealClientsOnALine(t *testing.T) {
	for _, c := range []struct {
		name, framing string
		argv          []string
	}{
		{"libmodbus", "rtu", peer.Libmodbus(t, "testdata/client.c")},
		{"pymodbus", "rtu", peer.Pymodbus(t, "testdata/client.py")},
		{"pymodbus", "ascii", peer.Pymodbus(t, "testdata/client.py")},
	} {
		t.Run(c.name+"/"+c.framing, func(t *testing.T) {
			r := actorstest.New(t)
			port := freeport.Port(t)
			near, far := peer.Cable(t)
			plant(t, r, &modbusv1.Server{
				Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}},
				Serial: []*modbusv1.SerialDoor{{Port: far, Parity: "none", Framing: c.framing}},
			})
			filled(t, r, port)
			r.Until("the serial port is open", func() bool { // until then the terminal echoes
				m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
				return err == nil && slices.ContainsFunc(m.Masters, func(m *modbusv1.Master) bool { return m.Door == "serial "+far })
			})
			peer.Run(t, append(c.argv, c.framing, near)...)
		})
	}
}

func TestNmapDiscovers(t *testing.T) {
	nmap, err := exec.LookPath("nmap")
	if err != nil {
		t.Fatal("nmap is missing: apt-get install -y nmap")
	}
	r := actorstest.New(t)
	port := freeport.Port(t)
	cfg := config(port)
	cfg.Identity = &modbusv1.DeviceIdentity{Vendor: "Acme", Product: "GW-1"}
	begin(t, r, cfg)
	out := peer.Run(t, nmap, "-Pn", "-p", port, "--script", "+modbus-discover", "127.0.0.1")
	for _, want := range []string{"sid 0x1", "Slave ID data: g\\xFFGW-1", "Device identification: Acme GW-1"} {
		if !strings.Contains(out, want) {
			t.Errorf("nmap does not say %q: %s", want, out)
		}
	}
}

// authority signs certificates and writes them to a directory.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.sign(t, "ca", &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.sign(t, "own", &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)})
	return a
}

// master creates the certificate of a master with the encoded roles.
func (a *authority) master(t *testing.T, roles ...[]byte) {
	c := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "scada"}, NotAfter: time.Now().Add(time.Hour)}
	for _, role := range roles {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: server.RoleOID, Value: role})
	}
	a.sign(t, "master", c)
}

func role(t *testing.T, name string) []byte {
	b, err := asn1.MarshalWithParams(name, "utf8")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (a *authority) sign(t *testing.T, name string, c *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key, a.cert = key, c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if c.IsCA {
		a.cert, _ = x509.ParseCertificate(der)
	}
	a.write(t, name+".pem", "CERTIFICATE", der)
	a.write(t, name+".key", "EC PRIVATE KEY", secret)
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// A real client over TLS may do what its role allows.
func TestRoles(t *testing.T) {
	py := peer.Pymodbus(t, "testdata/tls.py")
	a := newAuthority(t)
	r := actorstest.New(t)
	port, plain := freeport.Port(t), freeport.Port(t)
	plant(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + plain}, {Listen: "127.0.0.1:" + port, Tls: &modbusv1.MasterTls{
		CertFile: a.file("own.pem"), KeyFile: a.file("own.key"), CaFile: a.file("ca.pem"), Readers: []string{"viewer", "operator"}, Writers: []string{"operator"},
	}}}})
	filled(t, r, plain)
	audit := actorstest.Watch(r, "event/"+path+"/audited", &modbusv1.Audited{})
	for _, c := range []struct {
		name  string
		roles [][]byte
		want  string // empty: the connection is refused
	}{
		{"operator", [][]byte{role(t, "operator")}, "read [3, 4, 5, 6]\nwrite done\n"},
		{"viewer", [][]byte{role(t, "viewer")}, "read [3, 4, 55, 6]\nwrite 1\n"},
		{"no UTF8String", [][]byte{[]byte("operator")}, ""},
		{"two", [][]byte{role(t, "operator"), role(t, "viewer")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.master(t, c.roles...)
			out, err := exec.Command(py[0], py[1], port, a.dir).CombinedOutput()
			if c.want != "" && (err != nil || string(out) != c.want) {
				t.Errorf("%v %s", err, out)
			}
			if c.want == "" && strings.Contains(string(out), "read [") {
				t.Errorf("it was let in: %s", out)
			}
			if strings.HasSuffix(c.want, "write 1\n") {
				a := actorstest.Next(t, audit)
				if a.Caller != "master/viewer" || a.Outcome != "denied" || a.Unit != "7" || a.GetAddress() != 5 || len(a.Values) != 1 || a.Values[0] != 55 {
					t.Errorf("audited %v", a)
				}
			}
		})
	}
	out, err := exec.Command(py[0], "-c", `
import socket, ssl, sys
c = ssl.create_default_context(cafile=sys.argv[2] + "/ca.pem")
s = c.wrap_socket(socket.create_connection(("localhost", int(sys.argv[1]))), server_hostname="localhost")
s.sendall(bytes([0, 1, 0, 0, 0, 6, 7, 3, 0, 0, 0, 1]))
print(len(s.recv(100)))
`, port, a.dir).CombinedOutput()
	if err == nil && strings.TrimSpace(string(out)) != "0" {
		t.Errorf("a master without a certificate is let in: %s", out)
	}
	m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
	if err != nil || m.Strangers != 3 {
		t.Errorf("%v %v", err, m)
	}
}
