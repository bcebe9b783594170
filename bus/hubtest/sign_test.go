package hubtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/bus/hubtest"
	"gatewayd/protocols/freeport"
)

// account creates an account of a hub that trusts an operator: its seed in a file, its public key
// and its JWT.
func account(t *testing.T, operator nkeys.KeyPair, name string) (seed, public, token string) {
	t.Helper()
	pair, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := pair.Seed()
	public, _ = pair.PublicKey()
	claims := jwt.NewAccountClaims(public)
	claims.Name = name
	if name != "SYS" {
		claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	}
	if token, err = claims.Encode(operator); err != nil {
		t.Fatal(err)
	}
	seed = filepath.Join(t.TempDir(), name+".nk")
	if err := os.WriteFile(seed, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return seed, public, token
}

// A hub that knows its users by JWTs alone admits gateways and operators by the files that are
// signed for them, and grants no more.
func TestJWT(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := operator.PublicKey()
	oc := jwt.NewOperatorClaims(public)
	fleet, fleetKey, fleetToken := account(t, operator, "FLEET")
	_, sysKey, sysToken := account(t, operator, "SYS")
	oc.SystemAccount = sysKey
	token, err := oc.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	address := freeport.Address(t)
	file := filepath.Join(dir, "hub.conf")
	text := fmt.Sprintf("listen: 127.0.0.1:-1\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\nleafnodes { listen: \"%s\" }\njetstream { store_dir: %q }\n",
		token, sysKey, fleetKey, fleetToken, sysKey, sysToken, address, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)

	leaf := &bus.Leaf{URLs: []string{"nats://" + address}, Credentials: filepath.Join(dir, "site.creds"), Calls: []string{"cmd/field/#"}}
	g, err := leaf.Grant("site-a")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is the same key
		if err := bus.Sign(fleet, leaf.Credentials, "site-a", g, true); err != nil {
			t.Fatal(err)
		}
	}
	ops := filepath.Join(dir, "ops.creds")
	if err := bus.Sign(fleet, ops, "operator", bus.OperatorGrant(), false); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{Gateway: "site-a", Dir: filepath.Join(dir, "bus"), Leaf: leaf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	hubtest.Until(t, "it joins", b.Hub)
	if _, err := b.Conn().Subscribe("gw.site-a.cmd.>", func(m bus.Msg) { _ = m.Respond(&structpb.Struct{}) }); err != nil {
		t.Fatal(err)
	}
	c, err := bus.Dial(bus.Options{URL: s.ClientURL(), NKeyFile: ops, Hub: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	call := func(subject string) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return c.Call(ctx, subject, &structpb.Struct{}, nil)
	}
	hubtest.Until(t, "it answers", func() bool { return call("gw.site-a.cmd.field.x.Do") == nil })
	if call("gw.site-a.cmd.config.Get") == nil {
		t.Error("the hub calls what it may not")
	}
	words, err := c.Ask(t.Context(), []string{"site-a", "site-b"}, 10*time.Second)
	if err != nil || !words[0].Answered || words[1].Answered {
		t.Errorf("%v, %v", words, err)
	}
	if nc, err := nats.Connect(s.ClientURL(), nats.UserCredentials(leaf.Credentials)); err == nil {
		nc.Close()
		t.Error("a gateway's file lets a mere client in")
	}
	if err := bus.Sign(filepath.Join(dir, "site.creds"), ops, "x", g, false); err == nil {
		t.Error("signed by a user's key")
	}
}
