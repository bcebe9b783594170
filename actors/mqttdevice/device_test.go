package mqttdevice_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbroker"
	"gatewayd/actors/mqttdevice"
	"gatewayd/protocols/freeport"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	brokerPath = "edge/broker"
	devicePath = "field/shed"
)

func TestManners(t *testing.T) {
	actorstest.Conform(t, mqttdevice.Kind, &mqttv1.Device{Broker: brokerPath, Points: []*mqttv1.DevicePoint{{Name: "a", Topic: "a"}}}, mqttbroker.Kind)
}

// site is a broker of the gateway and a device that publishes there.
type site struct {
	*actorstest.Rig
	t      *testing.T
	listen string
	data   <-chan *samplev1.Samples
	broker *actors.Cell
	device *actors.Cell
}

func newSite(t *testing.T, broker *mqttv1.Broker, cfg *mqttv1.Device) *site {
	t.Helper()
	s := &site{Rig: actorstest.New(t), t: t, listen: freeport.Address(t)}
	broker.Listen = s.listen
	s.data = actorstest.Watch(s.Rig, "data/field/#", &samplev1.Samples{})
	s.broker = s.Start(brokerPath, mqttbroker.Kind, broker)
	cfg.Broker = brokerPath
	s.device = s.Start(devicePath, mqttdevice.Kind, cfg)
	s.Until("it listens", func() bool { return strings.Contains(s.device.Health().Cause, "no message ") })
	return s
}

// pub runs mosquitto_pub.
func (s *site) pub(args ...string) string {
	s.t.Helper()
	program, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		s.t.Fatal("mosquitto_pub is missing: apt-get install -y mosquitto-clients")
	}
	host, port, _ := net.SplitHostPort(s.listen)
	out, err := exec.Command(program, append([]string{"-h", host, "-p", port, "-q", "1"}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("mosquitto_pub %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// sample waits for a sample of the point with this value and cause.
func (s *site) sample(point, value, cause string) *samplev1.Sample {
	s.t.Helper()
	var found *samplev1.Sample
	actorstest.NextWhere(s.t, s.data, func(m *samplev1.Samples) bool {
		for _, x := range m.Samples {
			if x.Point == point && shown(x) == value && strings.Contains(x.Cause, cause) && (cause != "") == (x.Quality != "") {
				found = x
				return true
			}
		}
		return false
	})
	return found
}

// shed is the config of a Tasmota plug with a meter.
func shed(t *testing.T) *mqttv1.Device {
	t.Helper()
	cfg, problems := parsed(t.TempDir(), "profile = \"tasmota-energy\"\ndevice = \"shed\"\n")
	if problems != nil {
		t.Fatal(problems)
	}
	return cfg
}

func TestADeviceAtOurBroker(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{}, shed(t))
	s.pub("-t", "tele/shed/LWT", "-m", "Online", "-r")
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"Time":"2022-01-11T21:57:38","ENERGY":{"Total":3.705,"Today":0.026,"Power":5,"Voltage":233,"Current":0.021}}`)
	s.sample("power", "5", "")
	s.Until("ok", func() bool { return s.device.State() == actors.OK })
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":"NaN"}}`)
	s.sample("power", "5", `"NaN" is not a number`)
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":"6.5"}}`)
	s.sample("power", "6.5", "")
	s.pub("-t", "tele/shed/SENSOR", "-m", "caf\xe9")
	s.sample("power", "6.5", "not UTF-8")
	s.pub("-t", "tele/shed/SENSOR", "-m", strings.Repeat("1", 70000))
	s.sample("power", "6.5", "payload of 70000 bytes")
	s.pub("-t", "tele/shed/LWT", "-m", "Offline", "-r")
	if x := s.sample("power", "6.5", "offline since"); x.Time == nil {
		t.Error("a stale value without its time")
	}
	s.Until("unreachable", func() bool { return s.device.State() == actors.Unreachable })
}

// The will of a client that dies is handled like any message.
func TestADeviceThatDies(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{Topics: []string{"tele/#"}}, shed(t))
	host, port, _ := net.SplitHostPort(s.listen)
	s.pub("-t", "tele/hello", "-m", "hello", "-r")
	sub := exec.Command("mosquitto_sub", "-h", host, "-p", port, "-t", "tele/hello", "--will-topic", "tele/shed/LWT", "--will-payload", "Offline", "--will-retain")
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // now it is connected
		t.Fatal(err)
	}
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":5}}`)
	s.sample("power", "5", "")
	_ = sub.Process.Kill()
	_ = sub.Wait()
	s.sample("power", "5", "offline since")
}

// Messages retained before the device's actor started are delivered to it, and so are those of a
// restarted broker.
func TestRetainedMessages(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{Topics: []string{"tele/#"}}, shed(t))
	s.pub("-t", "tele/shed/LWT", "-m", "Offline", "-r")
	s.Until("offline", func() bool { return strings.Contains(s.device.Health().Cause, "Offline") })
	s.Stop(s.device)
	s.Spawn(s.device)
	s.Until("still offline", func() bool { return strings.Contains(s.device.Health().Cause, "Offline") })
	s.pub("-t", "tele/shed/LWT", "-m", "Online", "-r")
	s.pub("-t", "tele/shed/SENSOR", "-r", "-m", `{"ENERGY":{"Power":5}}`)
	s.sample("power", "5", "")
	s.Stop(s.device)
	s.Spawn(s.device)
	s.sample("power", "5", "retained message of unknown age")
}

func TestTheBrokerComesBack(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{Topics: []string{"tele/#"}}, shed(t))
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":5}}`)
	s.sample("power", "5", "")
	s.Stop(s.broker)
	s.sample("power", "5", "broker edge/broker: ")
	s.Until("unreachable", func() bool { return s.device.State() == actors.Unreachable })
	s.Spawn(s.broker)
	s.sample("power", "5", "when the connection to the broker was lost")
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":6}}`)
	s.sample("power", "6", "")
}

func TestADeviceThatFallsSilent(t *testing.T) {
	cfg := shed(t)
	cfg.Silence = durationpb.New(300 * time.Millisecond)
	s := newSite(t, &mqttv1.Broker{}, cfg)
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":5}}`)
	s.sample("power", "5", "silent for 300ms")
	s.Until("unreachable", func() bool { return strings.Contains(s.device.Health().Cause, "silent since") })
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":6}}`)
	s.sample("power", "6", "")
}

// relay simulates a plug: it carries out commands and publishes its state. It is off at first.
func (s *site) relay() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.listen)
	at := " -h " + host + " -p " + port
	s.pub("-t", "tele/hello", "-m", "OFF", "-r")
	c := exec.Command("sh", "-c", `mosquitto_sub`+at+` -t cmnd/shed/POWER -t tele/hello | while read word; do mosquitto_pub`+at+` -t stat/shed/POWER -m "$word"; done`)
	c.SysProcAttr = group()
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { end(c); _ = c.Wait() })
	s.sample("relay", "false", "")
}

func (s *site) set(name string, on bool) (*mqttv1.SetResponse, error) {
	return actorstest.Call(s.Rig, devicePath, "Set", &mqttv1.SetRequest{Name: name, Value: &mqttv1.SetRequest_Flag{Flag: on}}, &mqttv1.SetResponse{})
}

func TestADeviceWithoutCommands(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{}, &mqttv1.Device{Points: []*mqttv1.DevicePoint{{Name: "a", Topic: "a"}}})
	if _, err := s.set("relay", true); err == nil || !strings.HasSuffix(err.Error(), `has no command "relay"; its commands: none`) {
		t.Error(err)
	}
}

func TestARelayIsSwitched(t *testing.T) {
	cfg := shed(t)
	cfg.Commands[0].Timeout = durationpb.New(20 * time.Second)
	s := newSite(t, &mqttv1.Broker{Topics: []string{"stat/#", "tele/#"}}, cfg)
	events := actorstest.Watch(s.Rig, "event/field/#", &mqttv1.Commanded{})
	s.relay()
	for _, on := range []bool{true, false} {
		got, err := s.set("relay", on)
		if err != nil || got.Outcome != "confirmed" {
			t.Fatalf("%v, %v", got, err)
		}
		if e := actorstest.Next(t, events); e.Name != "relay" || e.Outcome != "confirmed" || e.Payload != map[bool]string{true: "ON", false: "OFF"}[on] || !strings.HasPrefix(e.Caller, "nats/") && e.Caller != "local" {
			t.Errorf("event %v", e)
		}
	}
	if _, err := s.set("rely", true); err == nil || !strings.Contains(err.Error(), `did you mean "relay"`) {
		t.Error(err)
	}
	if _, err := actorstest.Call(s.Rig, devicePath, "Set", &mqttv1.SetRequest{Name: "relay", Value: &mqttv1.SetRequest_Number{Number: 1}}, &mqttv1.SetResponse{}); err == nil || !strings.Contains(err.Error(), "want a flag") {
		t.Error(err)
	}
	s.pub("-t", "tele/shed/LWT", "-m", "Offline", "-r")
	s.Until("offline", func() bool { return s.device.State() == actors.Unreachable })
	if _, err := s.set("relay", true); err == nil || !strings.Contains(err.Error(), "not sent: offline since") {
		t.Error(err)
	}
	if e := actorstest.Next(t, events); e.Outcome != "failed" || !strings.Contains(e.Cause, "not sent") {
		t.Errorf("event %v", e)
	}
}

// The event names the caller and the outcome, so the audit log has one record: that of the event,
// not that of the call.
func TestWhatWasSwitchedIsToldOnce(t *testing.T) {
	cfg := shed(t)
	cfg.Commands[0].Timeout = durationpb.New(20 * time.Second)
	s := newSite(t, &mqttv1.Broker{Topics: []string{"stat/#", "tele/#"}}, cfg)
	over := make(chan actors.Outcome, 10)
	ear := actors.Define(actors.Kind{Name: "ear", Doc: "Hears of calls."}, func(*structpb.Struct) actors.Actor { return ear(over) })
	cell := s.Start("ear", ear, &structpb.Struct{})
	s.Until("it listens", func() bool { return cell.State() == actors.OK })
	s.relay()
	for name, told := range map[string]bool{"relay": true, "rely": false} {
		_, _ = s.set(name, true)
		if o := actorstest.NextWhere(t, over, func(o actors.Outcome) bool { return o.Method == "Set" }); o.OwnEvent != told || (o.Err == nil) != told {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

type ear chan<- actors.Outcome

func (e ear) Receive(c *actors.Context, msg any) error {
	if _, ok := msg.(actors.Started); ok {
		c.Outcomes(func(o actors.Outcome) { e <- o })
		c.OK()
	}
	return nil
}

func TestARelayThatDoesNotTell(t *testing.T) {
	cfg := shed(t)
	cfg.Commands[0].Timeout = durationpb.New(200 * time.Millisecond)
	s := newSite(t, &mqttv1.Broker{Topics: []string{"stat/#"}}, cfg)
	s.pub("-t", "stat/shed/POWER", "-m", "OFF")
	s.sample("relay", "false", "")
	if _, err := s.set("relay", true); err == nil || !strings.Contains(err.Error(), "relay is still false after 200ms: the command may or may not") {
		t.Error(err)
	}
	if got, err := s.set("relay", false); err != nil || got.Outcome != "unchanged" {
		t.Errorf("%v, %v", got, err)
	}
}

// Topics that no actor subscribes to are listed with the matching profile, even if the broker
// refused them.
func TestWhatNobodyHears(t *testing.T) {
	s := newSite(t, &mqttv1.Broker{Topics: []string{"tele/#", "shellies/#"}}, shed(t))
	s.pub("-t", "tele/barn/LWT", "-m", "Online", "-i", "barn")
	s.pub("-t", "tele/barn/STATE", "-m", `{"POWER":"ON"}`, "-i", "barn")
	s.pub("-t", "tele/barn/SENSOR", "-m", `{"ENERGY":{"Power":1}}`, "-i", "barn")
	s.pub("-t", "shellies/x/what", "-m", "1")
	s.pub("-t", "other/topic", "-m", "secret", "-q", "0", "-V", "5")
	s.pub("-t", "tele/shed/SENSOR", "-m", `{"ENERGY":{"Power":5}}`)
	var got *mqttv1.ListUnclaimedResponse
	s.Until("all are there", func() bool {
		var err error
		got, err = actorstest.Call(s.Rig, brokerPath, "ListUnclaimed", &mqttv1.ListUnclaimedRequest{}, &mqttv1.ListUnclaimedResponse{})
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Devices) == 1 && len(got.Topics) == 2
	})
	d := got.Devices[0]
	if d.Profile != "tasmota-energy" || d.Device != "barn" || len(d.Topics) != 3 || d.Topics[0].Client != "barn" {
		t.Errorf("devices %v", got.Devices)
	}
	if got.Topics[0].Topic != "other/topic" || !got.Topics[0].Refused || got.Topics[1].Topic != "shellies/x/what" || got.Topics[1].Refused || got.Topics[1].Payload != "1" {
		t.Errorf("topics %v", got.Topics)
	}
}
