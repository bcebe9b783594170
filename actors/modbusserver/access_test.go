package modbusserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusserver"
	"gatewayd/protocols/freeport"
	accessv1 "gatewayd/schemas/access/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const keeper = "access"

// knock connects as a master with the certificate of that name and reads a register. The error is
// that of the read.
func (a *authority) knock(t *testing.T, name, addr string) (net.Conn, error) {
	t.Helper()
	own, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c, err := tls.Dial("tcp", addr, &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c, read(c)
}

// read reads a register of a filled range.
func read(c net.Conn) error {
	if _, err := c.Write([]byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 90, 0, 1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 11))
	return err
}

// With access-control, masters whose certificates the authority has signed are let in only if
// access-control lists them, and are disconnected when it revokes them.
func TestRevokedMastersAreCutOff(t *testing.T) {
	a := newAuthority(t)
	for i, name := range []string{"anna", "otto", "nobody"} {
		a.sign(t, name, &x509.Certificate{SerialNumber: big.NewInt(int64(10 + i)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)})
	}
	r := actorstest.New(t)
	knows := r.Start(keeper, accesscontrol.Kind, &accessv1.Access{
		Roles: []*accessv1.Role{{Name: "master", Allow: []string{"data/#"}}},
		Identities: []*accessv1.Identity{
			{Name: "anna", Roles: []string{"master"}, Certificates: []string{"CN:anna"}},
			{Name: "otto", Roles: []string{"master"}, Certificates: []string{"CN:otto"}},
		},
	})
	r.Until("it is known who is revoked", func() bool { return knows.State() == actors.OK })
	cuts, refusals := actorstest.Watch(r, "event/"+path+"/cut", &modbusv1.MastersCut{}), actorstest.Watch(r, "event/"+path+"/refused", &accessv1.Refused{})
	port := freeport.Port(t)
	addr := "127.0.0.1:" + port
	cfg := config(port)
	cfg.Tcp[0].Tls = &modbusv1.MasterTls{CertFile: a.file("own.pem"), KeyFile: a.file("own.key"), CaFile: a.file("ca.pem")}
	cell := begin(t, r, cfg)
	early, err := a.knock(t, "nobody", addr)
	if err != nil {
		t.Fatal("without access-control it may: ", err)
	}

	// From now on access-control is asked, and connected masters must connect again.
	cfg = proto.CloneOf(cfg)
	cfg.Access = keeper
	cell.Reconfigure(cfg)
	if c := actorstest.Next(t, cuts); c.Identity != "" || c.Connections != 1 {
		t.Errorf("event %v", c)
	}
	if read(early) == nil {
		t.Error("of whom nobody was asked is still in")
	}
	r.Until("nobody comes in", func() bool { _, err := a.knock(t, "nobody", addr); return err != nil })
	if e := actorstest.Next(t, refusals); e.Reason != "credentials" || e.Cause == "" || e.Remote == "" {
		t.Errorf("event %v", e)
	}
	anna, err := a.knock(t, "anna", addr)
	if err != nil {
		t.Fatal(err)
	}
	otto, err := a.knock(t, "otto", addr)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := actorstest.Call(r, keeper, "Revoke", &accessv1.RevokeRequest{Identity: "otto"}, &accessv1.RevokeResponse{}); err != nil {
		t.Fatal(err)
	}
	if c := actorstest.NextWhere(t, cuts, func(c *modbusv1.MastersCut) bool { return c.Identity != "" }); c.Identity != "otto" || c.Connections != 1 || c.Cause == "" {
		t.Errorf("event %v", c)
	}
	if read(otto) == nil {
		t.Error("otto is still in")
	}
	if _, err := a.knock(t, "otto", addr); err == nil {
		t.Error("otto comes in again")
	}
	if err := read(anna); err != nil {
		t.Error("anna is cut off too: ", err)
	}

	// A server with access-control from its start lets in masters that are listed.
	other := freeport.Port(t)
	begun := proto.CloneOf(cfg)
	begun.Tcp[0].Listen = "127.0.0.1:" + other
	second := r.Start("scada-2", modbusserver.Kind, begun)
	r.Until("the other one is well", func() bool { return second.State() == actors.OK })
	if _, err := a.knock(t, "anna", begun.Tcp[0].Listen); err != nil {
		t.Error(err)
	}

	// Taking access-control out of the config disconnects nobody.
	cfg = proto.CloneOf(cfg)
	cfg.Access = ""
	cell.Reconfigure(cfg)
	r.Until("otto comes in again", func() bool { _, err := a.knock(t, "otto", addr); return err == nil })
	if err := read(anna); err != nil {
		t.Error("anna is cut off: ", err)
	}
}
