package modbusmqtt_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusmqtt"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/mqttbroker"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	doorPath = "edge/controller"
	unitPath = "field/plc/unit"
	linkPath = "field/plc/link"
	wallPath = "field/firewall"
)

func ms(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

// plc starts a device whose holding registers 0 to 199 hold ten times their own address, and of
// whose coils every other one is on.
func plc(t testing.TB) (*sim.Device, string) {
	t.Helper()
	d := sim.NewDevice(1)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, 10*i)
		d.Put(sim.Coils, i, i%2)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sim.NewPlant(d).ServeTCP(ctx, l)
	}()
	t.Cleanup(func() { cancel(); _ = l.Close(); <-done })
	return d, l.Addr().String()
}

// field starts the unit at address and its firewall.
func field(r *actorstest.Rig, address string) {
	r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: []*modbusv1.FirewallRule{
		{Name: "locked", Action: "deny", Functions: []string{"write"}, Addresses: []string{"0-9"}},
		{Name: "controller", Action: "allow", Callers: []string{"cookie/me"}},
	}})
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: address, MaxBackoff: ms(200)})
	r.Start(unitPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 1, Timeout: ms(2000), Firewall: wallPath})
}

// inside starts the actor at a broker of this gateway.
func inside(t testing.TB, r *actorstest.Rig, address string, change ...func(*modbusv1.ModbusMqtt)) string {
	t.Helper()
	field(r, address)
	listen := freeport.Address(t)
	r.Start("edge/broker", mqttbroker.Kind, &mqttv1.Broker{Listen: listen})
	cfg := &modbusv1.ModbusMqtt{Broker: "edge/broker", Targets: []*modbusv1.MqttTarget{
		{Address: address, Slave: 1, Unit: unitPath}, {Device: "rs485", Unit: unitPath}, {Device: "gone", Unit: "field/gone"},
	}}
	for _, fn := range change {
		fn(cfg)
	}
	cell := r.Start(doorPath, modbusmqtt.Kind, cfg)
	r.Until("the door is open", func() bool { return cell.State() == actors.OK })
	return listen
}

// ask makes one request as the controller called id: mosquitto_rr subscribes, publishes, prints the
// answer and exits.
func ask(t *testing.T, broker, id, line string, more ...string) string {
	t.Helper()
	program, err := exec.LookPath("mosquitto_rr")
	if err != nil {
		t.Fatal("mosquitto_rr is missing: apt-get install -y mosquitto-clients")
	}
	host, port, _ := net.SplitHostPort(broker)
	args := append([]string{"-h", host, "-p", port, "-i", id, "-t", "request", "-m", line, "-W", "30"}, more...)
	if len(more) == 0 {
		args = append(args, "-V", "311", "-e", "response")
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_rr: %v\n%s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func TestManners(t *testing.T) {
	actorstest.Conform(t, modbusmqtt.Kind, &modbusv1.ModbusMqtt{Broker: "edge/broker"},
		mqttbroker.Kind, modbusfirewall.Kind, modbusunit.Kind, tcplink.Kind)
}

func TestAControllerAtOurBroker(t *testing.T) {
	d, address := plc(t)
	r := actorstest.New(t)
	audit := actorstest.Watch(r, "event/field/#", &modbusv1.Audited{})
	broker := inside(t, r, address)
	host, port, _ := net.SplitHostPort(address)
	at := host + " " + port
	for _, x := range []struct{ id, line, want string }{
		{"me", "0 16468394968118163995 0 " + at + " 5 1 3 1 3", "16468394968118163995 OK 0 10 20"},
		{"me", "0 007 0 " + at + " 5 1 3 101 1", "007 OK 1000"},
		{"me", "1 42 rs485 1 1 1 1 10", "42 OK 0 1 0 1 0 1 0 1 0 1"},
		{"me", "1 42 rs485 1 99 3 1 1", "42 OK 0"}, // slave 0 in the target: any slave id means this unit
		{"me", "0 43 0 " + at + " 5 1 6 51 7", "43 OK"},
		{"me", "0 44 0 " + at + " 5 1 16 61 1 65535", "44 OK"},
		{"me", "0 45 0 " + at + " 5 1 15 61 3 1,0,1", "45 OK"},
		{"me", "0 46 0 " + at + " 5 1 5 71 1", "46 OK"},
		{"me", "0 47 0 " + at + " 5 1 3 5001 1", "47 ERROR: Illegal data address"},
		{"me", "0 48 0 " + at + " 5 1 6 5 1", "48 ERROR: MESSAGE BLOCKED"},
		{"you", "0 49 0 " + at + " 5 1 3 1 1", "49 ERROR: MESSAGE BLOCKED"},
		{"you", "1 50 rs485 5 1 3 1 1", "50 ERROR: MESSAGE BLOCKED"},
		{"me", "0 51 0 192.0.2.1 502 5 1 3 1 1", "51 ERROR: MESSAGE BLOCKED"},
		{"me", "0 52 0 " + at + " 5 2 3 1 1", "52 ERROR: MESSAGE BLOCKED"},
		{"me", "1 53 rs232 1 1 3 1 1", "53 ERROR: INVALID REQUEST"},
		{"me", "1 54 gone 1 1 3 1 1", "54 ERROR: Gateway path unavailable"},
		{"me", "0 565842596387 0 " + at + " 5 1 16 1 3 1234,5678", "565842596387 ERROR: INVALID REQUEST"},
		{"me", "hello", "0 ERROR: INVALID REQUEST"},
	} {
		if got := ask(t, broker, x.id, x.line); got != x.want {
			t.Errorf("%s asks %q and hears %q, want %q", x.id, x.line, got, x.want)
		}
	}
	if v, _ := d.Get(sim.HoldingRegisters, 50, 1); v[0] != 7 {
		t.Errorf("register 50 is %d", v[0])
	}
	for _, want := range []struct {
		function, address uint32
		outcome           string
	}{{6, 50, "done"}, {16, 60, "done"}, {15, 60, "done"}, {5, 70, "done"}, {6, 4, "denied"}} {
		if got := actorstest.Next(t, audit); got.Caller != "cookie/me" || got.Function != want.function || got.GetAddress() != want.address || got.Outcome != want.outcome || len(got.Trace) != 32 {
			t.Errorf("audited %v, want %v", got, want)
		}
	}
	got := ask(t, broker, "me", "0 55 0 "+at+" 5 1 3 2 1", "-V", "5", "-e", "reply/me/own", "-D", "publish", "correlation-data", "c1", "-F", "%t %D %p")
	if got != "reply/me/own c1 55 OK 10" {
		t.Errorf("a client of MQTT 5 hears %q", got)
	}
	got = ask(t, broker, "me", "0 55 0 "+at+" 5 1 3 2 1", "-V", "5", "-e", "response", "-D", "publish", "correlation-data", "c2", "-F", "%t %D %p")
	if got != "response c2 55 OK 10" {
		t.Errorf("a client of MQTT 5 that names the usual topic hears %q", got)
	}
	d.Behave(sim.Behaviour{Silent: true})
	if got := ask(t, broker, "me", "0 56 0 "+at+" 1 1 3 1 1"); got != "56 ERROR: Connection timed out" {
		t.Error(got)
	}
}

// Nothing passes without a rule, not even if no firewall is configured.
func TestWithoutAFirewallNothingIsAllowed(t *testing.T) {
	_, address := plc(t)
	r := actorstest.New(t)
	r.Start("field/plc/open", modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 1, Timeout: ms(2000)})
	broker := inside(t, r, address, func(cfg *modbusv1.ModbusMqtt) {
		cfg.Targets = append(cfg.Targets, &modbusv1.MqttTarget{Device: "open", Unit: "field/plc/open"})
	})
	for line, want := range map[string]string{"1 1 open 1 1 3 1 1": "1 ERROR: MESSAGE BLOCKED", "1 2 rs485 1 1 3 1 1": "2 OK 0"} {
		if got := ask(t, broker, "me", line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Too many requests are answered as such, and every line is answered.
func TestTooManyRequests(t *testing.T) {
	d, address := plc(t)
	r := actorstest.New(t)
	broker := inside(t, r, address, func(cfg *modbusv1.ModbusMqtt) { cfg.MaxRequests = 2 })
	d.Behave(sim.Behaviour{Silent: true})
	c := connect(t, broker, "me")
	for range 3 {
		c.publish("1 5 rs485 1 1 3 1 1")
	}
	if got := c.next(); got != "5 ERROR: Too many requests" {
		t.Error(got)
	}
	// The second request waits for the first and is sent only if there is time left.
	for range 2 {
		if got := c.next(); got != "5 ERROR: Connection timed out" && got != "5 ERROR: Slave device or server is busy" {
			t.Error(got)
		}
	}
}

// A controller that sends the next request as soon as the last one is answered gets all its
// answers.
func TestOneAfterTheOther(t *testing.T) {
	_, address := plc(t)
	c := connect(t, inside(t, actorstest.New(t), address), "me")
	for range 500 {
		c.publish("1 5 rs485 5 1 3 1 3")
		if got := c.next(); got != "5 OK 0 10 20" {
			t.Fatal(got)
		}
	}
}

// The actor resumes when its broker comes back.
func TestTheBrokerComesBack(t *testing.T) {
	_, address := plc(t)
	r := actorstest.New(t)
	broker := inside(t, r, address)
	cell := r.System.Lookup("edge/broker")
	r.Stop(cell)
	r.Until("unreachable", func() bool { return r.System.Lookup(doorPath).State() == actors.Unreachable })
	r.Spawn(cell)
	r.Until("the door is open", func() bool { return r.System.Lookup(doorPath).State() == actors.OK })
	if got := ask(t, broker, "me", "1 1 rs485 1 1 3 2 1"); got != "1 OK 10" {
		t.Error(got)
	}
}

func TestConfigsThatCannotWork(t *testing.T) {
	for want, cfg := range map[string]*modbusv1.ModbusMqtt{
		"set either broker":      {},
		"set either broker, an":  {Broker: "edge/broker", Url: "tcp://x:1"},
		"targets[0]: set either": {Broker: "edge/broker", Targets: []*modbusv1.MqttTarget{{Unit: "a"}}},
		"is not host:port":       {Broker: "edge/broker", Targets: []*modbusv1.MqttTarget{{Unit: "a", Address: "x"}}},
		"targets[1]: slave 1 of this address is already used by a": {Broker: "edge/broker", Targets: []*modbusv1.MqttTarget{{Unit: "a", Address: "x:1", Slave: 1}, {Unit: "b", Address: "X:1", Slave: 1}}},
	} {
		r := actorstest.New(t).Once()
		r.Start(doorPath, modbusmqtt.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("level %d, %v, want %s", f.Level, f, want)
		}
	}
}

// client is a minimal MQTT 3.1.1 client.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func connect(t testing.TB, broker, id string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t, conn, bufio.NewReader(conn)}
	c.send(0x10, "\x00\x04MQTT\x04\x02\x00\x00", id)
	c.packet()
	c.send(0x82, "\x00\x01", "response", "\x00")
	c.packet()
	return c
}

// send sends a packet made of a head, a length-prefixed string and a tail.
func (c *client) send(kind byte, head, text string, tail ...string) {
	body := head + string([]byte{byte(len(text) >> 8), byte(len(text))}) + text + strings.Join(tail, "")
	if len(body) > 127 {
		c.t.Fatal("too long for this client")
	}
	if _, err := c.conn.Write(append([]byte{kind, byte(len(body))}, body...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) publish(line string) { c.send(0x30, "", "request", line) }

func (c *client) packet() []byte {
	_ = c.conn.SetReadDeadline(time.Now().Add(actorstest.Patience))
	var head [2]byte
	p := head[:]
	for i := range p {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatal(err)
		}
		p[i] = b
	}
	body := make([]byte, head[1])
	for i := range body {
		body[i], _ = c.r.ReadByte()
	}
	return body
}

// next returns the payload of the next PUBLISH.
func (c *client) next() string {
	p := c.packet()
	return string(p[2+int(p[0])<<8+int(p[1]):])
}

// A controller may disconnect right after its request, as mosquitto_pub does; the answer is still
// published for others.
func TestWhoHasGoneIsAnswered(t *testing.T) {
	program, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Fatal("mosquitto_pub is missing: apt-get install -y mosquitto-clients")
	}
	d, address := plc(t)
	r := actorstest.New(t)
	broker := inside(t, r, address)
	d.Behave(sim.Behaviour{Delay: 20 * time.Millisecond})
	c := connect(t, broker, "you")
	host, port, _ := net.SplitHostPort(broker)
	for i := range 10 {
		if out, err := exec.Command(program, "-h", host, "-p", port, "-i", "me", "-t", "request", "-m", fmt.Sprintf("1 %d rs485 20 1 3 1 1", i)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got, want := c.next(), fmt.Sprintf("%d OK 0", i); got != want {
			t.Fatalf("%q is heard, want %q", got, want)
		}
	}
}
