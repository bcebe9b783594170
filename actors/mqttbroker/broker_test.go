package mqttbroker_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbroker"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	accessv1 "gatewayd/schemas/access/v1"
	actorv1 "gatewayd/schemas/actor/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const path = "edge/broker"

func TestMain(m *testing.M) { actorstest.Main(m) }

func TestConforms(t *testing.T) {
	actorstest.Conform(t, mqttbroker.Kind, &mqttv1.Broker{Listen: freeport.Address(t)}, accesscontrol.Kind)
}

// start starts a broker and waits for its first canary run.
func start(t *testing.T, r *actorstest.Rig, cfg *mqttv1.Broker) (*actors.Cell, string) {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = freeport.Address(t)
	}
	cell := r.Start(path, mqttbroker.Kind, cfg)
	r.Until("a canary", func() bool { return cell.State() == actors.OK })
	return cell, cfg.Listen
}

func TestBusyPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := actorstest.New(t).Once()
	r.Start(path, mqttbroker.Kind, &mqttv1.Broker{Listen: l.Addr().String()})
	f := actorstest.Next(t, r.Faults)
	if !strings.Contains(f.Error(), l.Addr().String()) || f.Level != actors.LevelRestart {
		t.Errorf("level %d: %v", f.Level, f)
	}
}

func TestOpenListenerIsRefused(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:1883", "gateway.example:1883"} {
		r := actorstest.New(t).Once()
		r.Start(path, mqttbroker.Kind, &mqttv1.Broker{Listen: listen})
		f := actorstest.Next(t, r.Faults)
		if f.Level != actors.LevelBroken || !strings.Contains(f.Error(), "insecure = true") || !strings.Contains(f.Error(), listen) {
			t.Errorf("%s: level %d: %v", listen, f.Level, f)
		}
	}
}

func TestInsecureSaysSoAtEveryStart(t *testing.T) {
	r := actorstest.New(t)
	events := actorstest.Watch(r, "event/edge/broker/insecure", &structpb.Struct{})
	cell, _ := start(t, r, &mqttv1.Broker{Listen: "0.0.0.0:0", Insecure: true})
	for range 2 {
		e := actorstest.Next(t, events).AsMap()
		if e["listen"] != "0.0.0.0:0" || e["warning"] == "" {
			t.Errorf("event %v", e)
		}
		r.Stop(cell)
		r.Spawn(cell)
	}
	r.Until("ok, not degraded", func() bool { return cell.State() == actors.OK })
	// Shown in the tree.
	if why := cell.Health().Cause; !strings.HasPrefix(why, "insecure: 0.0.0.0:0: ") {
		t.Errorf("ok, beside which stands %q", why)
	}
}

// A new life listens at the same address and has all states again.
func TestStatesOutliveTheBroker(t *testing.T) {
	r := actorstest.New(t)
	subject := bus.Subject(actorstest.Gateway, bus.State, "field/meter", "health")
	if err := r.Bus.Publish(subject, &actorv1.Health{Kind: "meter", State: "unreachable", Cause: "no answer"}); err != nil {
		t.Fatal(err)
	}
	cell, addr := start(t, r, &mqttv1.Broker{})
	for range 2 {
		got := mosquitto(t, "sub", addr, "-V", "311", "-t", "state/field/meter/health", "-C", "1", "-F", "%r %p")
		if line := got.next(); !strings.HasPrefix(line, "1 ") || !strings.Contains(line, `"no answer"`) {
			t.Errorf("a late subscriber gets %q", line)
		}
		r.Stop(cell)
		life := cell.Life()
		r.Spawn(cell)
		r.Until("a new life", func() bool { return cell.Life() > life && cell.State() == actors.OK })
	}
}

// A state that changes while the kept ones are arriving is not set back.
func TestKeptStateDoesNotOverruleNewer(t *testing.T) {
	r := actorstest.New(t)
	for i := range 300 {
		subject := bus.Subject(actorstest.Gateway, bus.State, "field/meter-"+string(rune('a'+i%26)), "n")
		if err := r.Bus.Publish(subject, structpb.NewNumberValue(float64(i))); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &mqttv1.Broker{Listen: freeport.Address(t)}
	cell := r.Start(path, mqttbroker.Kind, cfg)
	subject := bus.Subject(actorstest.Gateway, bus.State, "field/meter-a", "n")
	for i := 1000; i < 2000 || cell.State() != actors.OK; i++ {
		if i >= 2000 {
			<-time.After(time.Millisecond)
		}
		if err := r.Bus.Publish(subject, structpb.NewNumberValue(float64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Bus.Publish(subject, structpb.NewNumberValue(-1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.State, "field/last", "n"), structpb.NewNumberValue(0)); err != nil {
		t.Fatal(err)
	}
	mosquitto(t, "sub", cfg.Listen, "-t", "state/field/last/n", "-C", "1").next()
	if got := mosquitto(t, "sub", cfg.Listen, "-t", "state/field/meter-a/n", "-C", "1").next(); got != "-1" {
		t.Errorf("retained %q, the last word was -1", got)
	}
}

// States that were shed because there were too many at once are requested again.
func TestShedStatesComeAfterAll(t *testing.T) {
	r := actorstest.New(t)
	cell, addr := start(t, r, &mqttv1.Broker{})
	subject := bus.Subject(actorstest.Gateway, bus.State, "field/meter", "n")
	deadline := time.Now().Add(4 * actorstest.Patience)
	for i := 0; cell.Counters().Shed == 0; i++ {
		if i%10_000 == 0 { // more than the mailbox may hold
			cell.Drill("hang", 1, time.Second, func(error) {})
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is too much")
		}
		if err := r.Bus.Publish(subject, structpb.NewNumberValue(float64(i))); err != nil {
			t.Fatal(err)
		}
	}
	sub := mosquitto(t, "sub", addr, "-t", "state/field/meter/n")
	last := r.Bus.Publish(subject, structpb.NewNumberValue(-1)) // usually shed as well
	if last != nil {
		t.Fatal(last)
	}
	for sub.next() != "-1" {
	}
}

// When all places are taken no canary run is started: the connected clients are served and must not
// be cut off by a power cycle.
func TestFullHouseIsNoFailure(t *testing.T) {
	r := actorstest.New(t)
	cell, addr := start(t, r, &mqttv1.Broker{MaxClients: 1})
	subscribed(t, addr, "-t", "data/#")
	told := actorstest.Watch(r, "event/"+path+"/refused", &accessv1.Refused{})
	for range 3 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, c)
	}
	for deadline := time.Now().Add(2 * actorstest.Patience); cell.State() != actors.Degraded; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a full house is not told")
		}
	}
	if cause := cell.Health().Cause; !strings.Contains(cause, "max-clients = 1") || cell.Life() != 1 {
		t.Errorf("life %d: %s", cell.Life(), cause)
	}
	for n := uint64(0); n < 3; {
		m := actorstest.Next(t, told)
		if n += m.Count; m.Reason != "crowd" || n > 3 || m.Remote == "" || m.Cause == "" {
			t.Fatalf("event %v", m)
		}
	}
}

// The canary uses an address of its own, so clients on this machine that use up their limit do not
// make the broker look dead.
func TestClientsOfOneAddressAreNoFailure(t *testing.T) {
	r := actorstest.New(t)
	cell, addr := start(t, r, &mqttv1.Broker{MaxClientsPerAddress: 1})
	subscribed(t, addr, "-t", "data/#")
	r.Stop(cell)
	r.Spawn(cell)
	subscribed(t, addr, "-t", "data/#")
	r.Until("a canary", func() bool { return cell.State() == actors.OK })
}

// No listener is open to the network by accident, whichever it is.
func TestOpenDoorIsRefused(t *testing.T) {
	for _, d := range []*mqttv1.BrokerDoor{
		{Listen: "0.0.0.0:0"}, {Listen: ":0", Websocket: true}, {Listen: "127.0.0.1:0", Socket: "/tmp/s"}, {}, {Socket: "s"},
		{Listen: "127.0.0.1:0", Origins: []string{"https://a"}},
	} {
		r := actorstest.New(t).Once()
		r.Start(path, mqttbroker.Kind, &mqttv1.Broker{Listen: freeport.Address(t), Doors: []*mqttv1.BrokerDoor{d}})
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken {
			t.Errorf("%v: level %d: %v", d, f.Level, f)
		}
	}
}

// A client on a unix socket uses the same broker.
func TestDoorsOfABroker(t *testing.T) {
	r := actorstest.New(t)
	socket := t.TempDir() + "/mqtt.sock"
	_, addr := start(t, r, &mqttv1.Broker{Doors: []*mqttv1.BrokerDoor{{Socket: socket}}})
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04unix")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	dialled(t, addr, "tcp", clean)
	if all := sessions(t, r, &mqttv1.SessionsRequest{}); len(all) != 2 || all["unix"] == nil {
		t.Errorf("sessions: %v", all)
	}
}
