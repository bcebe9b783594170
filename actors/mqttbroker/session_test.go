package mqttbroker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// dialled returns a connected bare client of MQTT 3.1.1.
func dialled(t *testing.T, addr, id string, flags byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(actorstest.Patience))
	_, err = fmt.Fprintf(c, "\x10%c\x00\x04MQTT\x04%c\x00\x00\x00%c%s", 12+len(id), flags, len(id), id)
	if err == nil {
		_, err = c.Read(make([]byte, 4))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	clean = 2
	keeps = 0
)

// sessions returns the broker's sessions by client id.
func sessions(t *testing.T, r *actorstest.Rig, of *mqttv1.SessionsRequest) map[string]*mqttv1.Status {
	t.Helper()
	all := map[string]*mqttv1.Status{}
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	err := r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Sessions"), of, func(m bus.Msg) error {
		one := &mqttv1.SessionsResponse{}
		err := m.Decode(one)
		all[one.GetStatus().GetSession().GetClientId()] = one.Status
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func closed(t *testing.T, c net.Conn) {
	t.Helper()
	for b := make([]byte, 100); ; {
		if _, err := c.Read(b); err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("the client is still there")
			}
			return
		}
	}
}

// Each session is an actor: it is in the tree with its client id, reports its traffic, and ends on
// request.
func TestSessionsAreActors(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	one, two := dialled(t, addr, "one", clean), dialled(t, addr, "two", clean)
	if _, err := one.Write([]byte("\x82\x0b\x00\x01\x00\x06data/#\x00")); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	all := sessions(t, r, &mqttv1.SessionsRequest{})
	if len(all) != 2 {
		t.Fatalf("sessions: %v", slices.Collect(maps.Keys(all)))
	}
	s := all["one"]
	if !s.Connected || s.Session.Remote != one.LocalAddr().String() || s.Session.Version != "3.1.1" || s.MessagesOut != 1 ||
		s.BytesIn == 0 || len(s.Subscriptions) != 1 || s.Subscriptions[0].Filter != "data/#" {
		t.Errorf("session of one: %v", s)
	}
	if h := r.System.Lookup(s.Path).Health(); h.State != actors.OK || h.About != "client one" || h.Kind != "mqtt-session" {
		t.Errorf("its health: %v", h)
	}
	own, err := actorstest.Call(r, s.Path, "Status", &mqttv1.StatusRequest{}, &mqttv1.StatusResponse{})
	if err != nil || own.Status.Session.ClientId != "one" || own.Status.Path != s.Path {
		t.Errorf("it says of itself: %v %v", own, err)
	}
	cfg, err := actorstest.Call(r, s.Path, "GetConfig", &actorv1.GetConfigRequest{}, &actorv1.GetConfigResponse{})
	if err != nil || cfg.Config.AsMap()["client-id"] != "one" {
		t.Errorf("its config: %v %v", cfg, err)
	}
	if _, err = actorstest.Call(r, s.Path, "Disconnect", &mqttv1.DisconnectRequest{ClientId: "two"}, &mqttv1.DisconnectResponse{}); err == nil {
		t.Error("somebody else was disconnected")
	}
	if _, err = actorstest.Call(r, s.Path, "Disconnect", &mqttv1.DisconnectRequest{}, &mqttv1.DisconnectResponse{}); err != nil {
		t.Fatal(err)
	}
	closed(t, one)
	r.Until("its actor is gone", func() bool { return r.System.Lookup(s.Path) == nil })
	cuts := actorstest.Watch(r, "event/edge/broker/cut", &mqttv1.Cut{})
	got, err := actorstest.Call(r, path, "DisconnectClients", &mqttv1.DisconnectClientsRequest{ClientId: "two"}, &mqttv1.DisconnectClientsResponse{})
	if err != nil || len(got.Clients) != 1 {
		t.Errorf("disconnected: %v %v", got, err)
	}
	closed(t, two)
	if e := actorstest.Next(t, cuts); len(e.Clients) != 1 || e.Clients[0] != "two" || !strings.Contains(e.Cause, "disconnected by") {
		t.Errorf("event: %v", e)
	}
	if _, err = actorstest.Call(r, path, "DisconnectClients", &mqttv1.DisconnectClientsRequest{}, &mqttv1.DisconnectClientsResponse{}); err == nil {
		t.Error("nobody in particular was disconnected")
	}
	r.Until("all are gone", func() bool { return len(sessions(t, r, &mqttv1.SessionsRequest{})) == 0 })
}

// The session of an absent client that is kept stays in the tree.
func TestSessionOfAnAbsentClient(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	c := dialled(t, addr, "dev", keeps)
	before := sessions(t, r, &mqttv1.SessionsRequest{})["dev"]
	cell := r.System.Lookup(before.Path)
	_ = c.Close()
	r.Until("it is away", func() bool { return cell.State() == actors.Unreachable })
	if s := sessions(t, r, &mqttv1.SessionsRequest{ClientId: "dev"})["dev"]; s == nil || s.Connected {
		t.Errorf("its session: %v", s)
	}
	dialled(t, addr, "dev", keeps)
	r.Until("it is back", func() bool { return cell.State() == actors.OK })
	if after := sessions(t, r, &mqttv1.SessionsRequest{})["dev"]; after.Path != before.Path || !after.Connected {
		t.Errorf("its session is now %v", after)
	}
	dialled(t, addr, "dev", clean).Close()
	r.Until("it is gone", func() bool { return r.System.Lookup(before.Path) == nil })
}

// A failing session disconnects its own client only.
func TestFailedSessionCostsItsClientOnly(t *testing.T) {
	r := actorstest.New(t)
	cell, addr := start(t, r, &mqttv1.Broker{})
	bad, good := dialled(t, addr, "bad", clean), dialled(t, addr, "good", clean)
	at := sessions(t, r, &mqttv1.SessionsRequest{})["bad"].Path
	r.System.Ask(at, actors.Failed{Err: errors.New("boom")}, func(any, error) {})
	closed(t, bad)
	r.Until("its actor is gone", func() bool { return r.System.Lookup(at) == nil })
	if _, err := good.Write([]byte{0xc0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := good.Read(make([]byte, 2)); err != nil {
		t.Error(err)
	}
	if cell.Life() != 1 || cell.State() != actors.OK {
		t.Errorf("the broker is %s in life %d", cell.State(), cell.Life())
	}
	dialled(t, addr, "bad", clean)
}

// A client that exceeds its rate is read more slowly and its session is degraded; other clients are
// served meanwhile.
func TestFloodCostsItsClientOnly(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{Rate: 200})
	flood, good := dialled(t, addr, "flood", clean), dialled(t, addr, "good", clean)
	cell := r.System.Lookup(sessions(t, r, &mqttv1.SessionsRequest{ClientId: "flood"})["flood"].Path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		publish := strings.Repeat("\x30\x05\x00\x01xyz", 100)
		for {
			if _, err := flood.Write([]byte(publish)); err != nil {
				return // it was told to stop
			}
		}
	}()
	// On a stalled machine the client may be within its rate for a moment.
	r.Until("it is said of, and why", func() bool {
		h := cell.Health()
		return h.State == actors.Degraded && strings.Contains(h.Cause, "rate = 200")
	})
	if _, err := good.Write([]byte{0xc0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := good.Read(make([]byte, 2)); err != nil {
		t.Error(err)
	}
	s := sessions(t, r, &mqttv1.SessionsRequest{})
	_ = flood.SetWriteDeadline(time.Unix(1, 0))
	<-done
	if s["flood"].Throttled == 0 || s["good"].Throttled != 0 {
		t.Errorf("throttled: %d and %d packets", s["flood"].Throttled, s["good"].Throttled)
	}
}

// Clients come and go by the thousand and are forgotten.
func TestSessionsComeAndGo(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{MaxClients: 5000, MaxClientsPerAddress: 5000})
	paths := len(r.System.Paths())
	for range 3 {
		var all []net.Conn
		for i := range 300 {
			all = append(all, dialled(t, addr, fmt.Sprint("c", i), clean))
		}
		r.Until("all are there", func() bool { return len(r.System.Paths()) == paths+len(all) })
		for _, c := range all {
			_ = c.Close()
		}
		r.Until("all are gone", func() bool { return len(r.System.Paths()) == paths })
	}
}

// A session stored by the broker exists in the next process, and so does its actor.
func TestStoredSessionsHaveActors(t *testing.T) {
	r := actorstest.New(t)
	r.System.Dir = t.TempDir()
	cell, addr := start(t, r, &mqttv1.Broker{})
	c := dialled(t, addr, "dev", keeps)
	if _, err := c.Write([]byte("\x82\x0b\x00\x01\x00\x06data/#\x01")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	r.Until("it is away", func() bool { s := sessions(t, r, &mqttv1.SessionsRequest{})["dev"]; return s != nil && !s.Connected })
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	r.Until("a message waits", func() bool { return sessions(t, r, &mqttv1.SessionsRequest{})["dev"].Queued == 1 })
	life := cell.Life()
	r.Stop(cell)
	r.Spawn(cell)
	r.Until("a new life", func() bool { return cell.Life() > life && cell.State() == actors.OK })
	s := sessions(t, r, &mqttv1.SessionsRequest{})["dev"]
	if s == nil || s.Connected || s.Queued != 1 || len(s.Subscriptions) != 1 {
		t.Fatalf("its session: %v", s)
	}
	r.Until("it has its actor", func() bool { at := r.System.Lookup(s.Path); return at != nil && at.State() == actors.Unreachable })
	c = dialled(t, addr, "dev", keeps)
	b := make([]byte, 200)
	if n, err := c.Read(b); err != nil || !strings.Contains(string(b[:n]), `{"n":1}`) {
		t.Errorf("it gets %q %v", b[:n], err)
	}
	if _, err := actorstest.Call(r, path, "DisconnectClients", &mqttv1.DisconnectClientsRequest{ClientId: "dev"}, &mqttv1.DisconnectClientsResponse{}); err != nil {
		t.Error(err)
	}
	r.Until("it is gone", func() bool { return len(sessions(t, r, &mqttv1.SessionsRequest{})) == 0 })
}
