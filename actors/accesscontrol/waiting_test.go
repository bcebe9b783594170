package accesscontrol_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/auditlog"
	"gatewayd/actors/httpserver"
	"gatewayd/actors/modbusserver"
	"gatewayd/actors/mqttbroker"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/pki"
	accessv1 "gatewayd/schemas/access/v1"
	auditv1 "gatewayd/schemas/audit/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
	webv1 "gatewayd/schemas/web/v1"
)

// slow serves one call after the other, each when the test says so.
type slow struct{ served, hold chan struct{} }

func (s slow) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		c.OK()
	case *erraticv1.MisbehaveRequest:
		s.serve()
		c.Reply(&erraticv1.MisbehaveResponse{})
	case *erraticv1.CountRequest:
		s.serve()
		c.Reply(nil)
	}
	return nil
}

func (s slow) serve() {
	s.served <- struct{}{}
	<-s.hold
}

const (
	slowPath, doorPath = "field/plc", "edge/door"
	longest            = 60 * time.Second
)

// entry is a kind that admits clients by certificate.
type entry struct {
	kind   actors.Kind
	config func(addr string, files *tlsv1.Server) proto.Message
	call   func(t *testing.T, addr, name string, as *tls.Config) // does not wait for the answer
	caller string
	method string
}

// modbusClients write a point each: writes of one point would wait for each other at the server.
var modbusClients = []string{"otto.first", "otto", "otto.spare"}

func servedPoints() (all []*modbusv1.ServedPoint) {
	for i, name := range modbusClients {
		all = append(all, &modbusv1.ServedPoint{From: slowPath, Point: name, Address: uint32(i), Call: slowPath + "/Misbehave", Request: `{"how":"panic"}`})
	}
	return all
}

func openHTTP(addr string, files *tlsv1.Server) proto.Message {
	return &webv1.Server{Listen: addr, Access: "access", Tls: files, CallTimeout: durationpb.New(longest)}
}

func openMQTT(addr string, files *tlsv1.Server) proto.Message {
	return &mqttv1.Broker{Listen: addr, Access: "access", Tls: files, CallTimeout: durationpb.New(longest)}
}

var entries = map[string]entry{
	"http":          {httpserver.Kind, openHTTP, callHTTP("Misbehave", `{"how":"panic"}`), "user/otto", "Misbehave"},
	"http, streams": {httpserver.Kind, openHTTP, callHTTP("Count", `{"to":1}`), "user/otto", "Count"},
	"mqtt":          {mqttbroker.Kind, openMQTT, callMQTT("Misbehave", `{"how":"panic"}`), "user/otto", "Misbehave"},
	"mqtt, streams": {mqttbroker.Kind, openMQTT, callMQTT("Count", `{"to":1}`), "user/otto", "Count"},
	"modbus": {modbusserver.Kind, func(addr string, files *tlsv1.Server) proto.Message {
		return &modbusv1.Server{
			Tcp:    []*modbusv1.TcpDoor{{Listen: addr, Tls: &modbusv1.MasterTls{CertFile: files.CertFile, KeyFile: files.KeyFile, CaFile: files.CaFile}}},
			Points: servedPoints(),
			Access: "access", WriteTimeout: durationpb.New(longest),
		}
	}, callModbus, "master/127.0.0.1", "Misbehave"},
}

func callHTTP(method, request string) func(t *testing.T, addr, name string, as *tls.Config) {
	return func(t *testing.T, addr, _ string, as *tls.Config) {
		own := &http.Transport{TLSClientConfig: as}
		t.Cleanup(own.CloseIdleConnections)
		go func() {
			answer, err := (&http.Client{Transport: own, Timeout: longest}).Post("https://"+addr+"/cmd/"+slowPath+"/"+method, "application/json", strings.NewReader(request))
			if err == nil {
				_ = answer.Body.Close()
			}
		}()
	}
}

func callMQTT(method, request string) func(t *testing.T, addr, name string, as *tls.Config) {
	return func(t *testing.T, addr, name string, as *tls.Config) {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + addr).SetClientID(name).SetTLSConfig(as).SetAutoReconnect(false))
		if m := c.Connect(); !m.WaitTimeout(longest) || m.Error() != nil {
			t.Fatalf("%s: %v", name, m.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		c.Publish("cmd/"+slowPath+"/"+method, 1, false, request)
	}
}

func callModbus(t *testing.T, addr, name string, as *tls.Config) {
	c, err := tls.Dial("tcp", addr, as)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte{0, 1, 0, 0, 0, 6, 1, 6, 0, byte(slices.Index(modbusClients, name)), 0, 1}); err != nil {
		t.Fatal(err)
	}
}

// as returns the TLS config of a client with this certificate.
func as(t *testing.T, a *pki.Authority, name string) *tls.Config {
	t.Helper()
	own, err := tls.LoadX509KeyPair(a.File(name+".pem"), a.File(name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.File("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
}

// A waiting call is dropped when the certificate of its caller is revoked, and the audit log says
// why. A call with another certificate of the same identity is carried out.
func TestWhatWaitsIsDroppedWithItsCertificate(t *testing.T) {
	for name, d := range entries {
		t.Run(name, func(t *testing.T) {
			a, err := pki.Create(t.TempDir(), "site", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []pki.CertificateRequest{{Name: "gateway", Hosts: []string{"127.0.0.1"}}, {Name: "otto"}, {Name: "otto.spare"}} {
				o.Validity = time.Hour
				if _, err := a.Issue(o, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			r := actorstest.New(t)
			r.System.Dir = t.TempDir()
			s := slow{make(chan struct{}, 8), make(chan struct{})}
			open := sync.OnceFunc(func() { close(s.hold) })
			t.Cleanup(open)
			plc := r.Start(slowPath, actors.Define(actors.Kind{
				Name: "slow", Doc: "takes its time", Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
			}, func(*structpb.Struct) actors.Actor { return s }), &structpb.Struct{})
			log := r.Start("audit", auditlog.Kind, &auditv1.Log{Files: 2, FileSize: 65536})
			r.Start("access", accesscontrol.Kind, &accessv1.Access{
				Roles:      []*accessv1.Role{{Name: "operator", Allow: []string{"cmd/field/#"}}},
				Identities: []*accessv1.Identity{{Name: "otto", Roles: []string{"operator"}, Certificates: []string{"CN:otto*"}}},
				Revocation: &accessv1.Revocation{CaFile: a.File("ca.crt"), Lists: []string{a.File("ca.crl")}},
			})
			addr := freeport.Address(t)
			cell := r.Start(doorPath, d.kind, d.config(addr, &tlsv1.Server{CertFile: a.File("gateway.pem"), KeyFile: a.File("gateway.pem"), CaFile: a.File("ca.crt")}))
			r.Until("all run", func() bool {
				return cell.State() == actors.OK && log.State() == actors.OK && plc.State() == actors.OK
			})
			cut := make(chan struct{}, 8)
			stop, err := r.Bus.Subscribe(bus.Subject(actorstest.Gateway, bus.Event, doorPath, "cut"), func(bus.Msg) { cut <- struct{}{} })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()

			d.call(t, addr, "otto.first", as(t, a, "otto.spare")) // keeps the actor busy
			actorstest.Next(t, s.served)
			d.call(t, addr, "otto", as(t, a, "otto"))
			r.Until("one waits", func() bool { return plc.Counters().Waiting == 1 })
			d.call(t, addr, "otto.spare", as(t, a, "otto.spare"))
			r.Until("two wait", func() bool { return plc.Counters().Waiting == 2 })
			if _, err := a.Revoke("otto", time.Now()); err != nil {
				t.Fatal(err)
			}
			actorstest.Next(t, cut)
			open()
			text := ""
			r.Until("all are in the audit", func() bool {
				b, _ := os.ReadFile(filepath.Join(r.System.Dir, "audit", "audit-00.log"))
				text = string(b)
				return strings.Count(text, `"what":"cmd/`) == 3
			})
			if len(s.served) != 1 {
				t.Errorf("%d of those that waited were served, want 1", len(s.served))
			}
			want := `"caller":"` + d.caller + `"`
			n := 0
			for line := range strings.Lines(text) {
				if strings.Contains(line, want) && strings.Contains(line, `"code":"permission_denied"`) && strings.Contains(line, "otto may no longer use cmd/"+slowPath+"/"+d.method+": the certificate is revoked") {
					n++
				}
			}
			if n != 1 {
				t.Errorf("it is in the audit %d times:\n%s", n, text)
			}
		})
	}
}
