package mqttbridge_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbridge"
	"gatewayd/actors/mqttbroker"
	"gatewayd/actors/mqttdevice"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient/mosquitto"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	bridgePath = "uplink/bridge"
	brokerPath = "edge/broker"
	devicePath = "field/shed"
)

func TestManners(t *testing.T) {
	actorstest.Conform(t, mqttbridge.Kind, &mqttv1.Bridge{Url: "tcp://127.0.0.1:9"}, mqttbroker.Kind, mqttdevice.Kind)
}

// far is Debian's mosquitto.
type far struct {
	t      *testing.T
	listen string
	config []string
	dir    string
	stop   func() // it writes its data to disk first
}

func newFar(t *testing.T, config ...string) *far {
	t.Helper()
	f := &far{t: t, listen: freeport.Address(t), config: config, dir: t.TempDir()}
	f.start()
	return f
}

func (f *far) start() {
	f.t.Helper()
	f.stop = mosquitto.Start(f.t, f.listen, append([]string{"persistence true", "persistence_location " + f.dir + "/", "max_queued_messages 0"}, f.config...)...)
}

func (f *far) url() string { return "tcp://" + f.listen }

// pub runs mosquitto_pub at a broker.
func pub(t *testing.T, listen string, args ...string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(listen)
	out, err := exec.Command("mosquitto_pub", append([]string{"-h", host, "-p", port, "-q", "1"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_pub %q: %v\n%s", args, err, out)
	}
}

// sub runs mosquitto_sub at a broker and returns once it has subscribed. Each line is topic, r if
// retained, and payload.
func sub(t *testing.T, listen string, topics ...string) <-chan string {
	t.Helper()
	host, port, _ := net.SplitHostPort(listen)
	hello := "tele/hello-" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-")
	args := []string{"-h", host, "-p", port, "-q", "1", "-V", "5", "-F", "%t %r %p", "-t", hello}
	for _, topic := range topics {
		args = append(args, "-t", topic)
	}
	cmd := exec.Command("mosquitto_sub", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := make(chan string, 1<<12)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	all := make(chan string, 1<<12)
	for begun := false; !begun; {
		pub(t, listen, "-t", hello, "-m", "hello")
		select {
		case line := <-lines:
			all <- line
			begun = strings.HasPrefix(line, hello)
		case <-time.After(100 * time.Millisecond):
		}
	}
	go func() {
		defer close(all)
		for line := range lines {
			all <- line
		}
	}()
	return all
}

// next returns the next line that is not about the status.
func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	return actorstest.NextWhere(t, lines, func(s string) bool { return !strings.HasPrefix(s, "tele/hello") })
}

// site is a bridge and the gateway's own broker.
type site struct {
	*actorstest.Rig
	t      *testing.T
	listen string
	bridge *actors.Cell
}

func newSite(t *testing.T, cfg *mqttv1.Bridge) *site {
	t.Helper()
	return newSiteOn(t, actorstest.New(t), cfg)
}

func newSiteOn(t *testing.T, r *actorstest.Rig, cfg *mqttv1.Bridge) *site {
	t.Helper()
	s := &site{Rig: r, t: t, listen: freeport.Address(t)}
	broker := s.Start(brokerPath, mqttbroker.Kind, &mqttv1.Broker{Listen: s.listen, Topics: []string{"tele/#"}})
	s.Until("the broker listens", func() bool { return broker.State() == actors.OK })
	cfg.Broker, cfg.MaxBackoff = brokerPath, durationpb.New(time.Second)
	s.bridge = s.Start(bridgePath, mqttbridge.Kind, cfg)
	return s
}

func (s *site) connected() {
	s.t.Helper()
	s.Until("connected", func() bool { return s.bridge.State() == actors.OK })
}

func (s *site) status() *mqttv1.BridgeStatusResponse {
	s.t.Helper()
	got, err := actorstest.Call(s.Rig, bridgePath, "BridgeStatus", &mqttv1.BridgeStatusRequest{}, &mqttv1.BridgeStatusResponse{})
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// say publishes as an actor of the gateway does.
func (s *site) say(class bus.Class, leaf, text string) {
	s.t.Helper()
	m := &samplev1.Samples{Samples: []*samplev1.Sample{{Point: "p", Value: &samplev1.Sample_Text{Text: text}}}}
	if err := s.Bus.Publish(bus.Subject(actorstest.Gateway, class, "field/meter", leaf), m); err != nil {
		s.t.Fatal(err)
	}
}

func TestWhatGoesOut(t *testing.T) {
	for _, version := range []string{"3.1.1", "5"} {
		t.Run(version, func(t *testing.T) {
			f := newFar(t, mosquitto.Anybody)
			s := newSite(t, &mqttv1.Bridge{
				Url: f.url(), Version: version, StatusTopic: "sites/7/status",
				Out: []*mqttv1.BridgeOut{
					{Topic: "data/#", RemotePrefix: "sites/7/"},
					{Topic: "state/field/#", RemotePrefix: "sites/7/", Qos: 2},
					{Topic: "#", LocalPrefix: "tele/", RemotePrefix: "sites/7/devices/", Qos: 1},
				},
			})
			s.connected()
			lines := sub(t, f.listen, "sites/#")
			// 0: it arrived only now.
			if got := next(t, lines); got != "sites/7/status 1 online" && got != "sites/7/status 0 online" {
				t.Error(got)
			}
			s.say(bus.Data, "points", "one")
			if got := next(t, lines); !strings.HasPrefix(got, "sites/7/data/field/meter/points 0 {") || !strings.Contains(got, `"text":"one"`) {
				t.Error(got)
			}
			if got := next(t, sub(t, f.listen, "sites/7/status")); got != "sites/7/status 1 online" {
				t.Error(got)
			}
			s.say(bus.State, "link", "two")
			if got := next(t, lines); !strings.HasPrefix(got, "sites/7/state/field/meter/link 0 {") {
				t.Error(got)
			}
			if got := next(t, sub(t, f.listen, "sites/7/state/#")); !strings.HasPrefix(got, "sites/7/state/field/meter/link 1 {") {
				t.Error(got)
			}
			pub(t, s.listen, "-t", "tele/shed/STATE", "-m", "caf\xe9")
			if got := next(t, lines); got != "sites/7/devices/shed/STATE 0 caf\xe9" {
				t.Errorf("%q", got)
			}
			s.Until("all is acknowledged", func() bool { m := s.status(); return m.Sent == 3 && m.Backlog == 0 && m.Buffered == 0 })
			s.Stop(s.bridge)
			if got := next(t, lines); got != "sites/7/status 0 offline" {
				t.Error(got)
			}
		})
	}
}

// Messages accepted while the outside broker was away arrive in order when it is back, whatever
// happened to the bridge meanwhile.
func TestNothingThatWasTakenIsLost(t *testing.T) {
	const n = 500
	f := newFar(t, mosquitto.Anybody)
	host, port, _ := net.SplitHostPort(f.listen)
	probe := []string{"-h", host, "-p", port, "-c", "-i", "probe", "-q", "1", "-t", "far/#", "-F", "%p"}
	if out, err := exec.Command("mosquitto_sub", append(probe, "-E")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newSite(t, &mqttv1.Bridge{Url: f.url(), Out: []*mqttv1.BridgeOut{{Topic: "data/#", RemotePrefix: "far/"}}})
	s.connected()
	for i := range n {
		switch i {
		case 100:
			f.stop()
		case 200: // the bridge is killed once its messages are on disk
			s.Until("on disk", func() bool { m := s.status(); return m.Buffered == 0 && m.Backlog > 0 })
			s.Stop(s.bridge)
			s.Spawn(s.bridge)
			s.Until("it is back", func() bool { return s.bridge.State() == actors.Unreachable })
			s.Until("it tells what waits", func() bool { m := s.status(); return m.Backlog > 0 && m.Oldest != nil })
		case 400:
			f.start()
		}
		s.say(bus.Data, "points", fmt.Sprintf("<%d>", i))
	}
	s.connected()
	s.Until("all is acknowledged", func() bool { m := s.status(); return m.Backlog == 0 && m.Buffered == 0 })
	out, err := exec.Command("mosquitto_sub", append(probe, "-W", "2")...).Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	var got []int
	for line := range strings.Lines(string(out)) {
		_, rest, ok := strings.Cut(line, "<")
		if !ok {
			_, rest, _ = strings.Cut(line, `\u003c`)
		}
		var i int
		if _, err := fmt.Sscanf(rest, "%d", &i); err == nil && !slices.Contains(got, i) {
			got = append(got, i)
		}
	}
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("%d of %d came, in order: %v", len(got), n, slices.IsSorted(got))
	}
	if m := s.status(); m.Dropped != 0 || m.Refused != 0 {
		t.Errorf("%v", m)
	}
}

func TestWhatComesIn(t *testing.T) {
	for _, version := range []string{"3.1.1", "5"} {
		t.Run(version, func(t *testing.T) {
			f := newFar(t, mosquitto.Anybody)
			pub(t, f.listen, "-t", "orders/7/old", "-m", "kept", "-r")
			s := newSite(t, &mqttv1.Bridge{
				Url: f.url(), Version: version,
				In: []*mqttv1.BridgeIn{{Topic: "#", RemotePrefix: "orders/7/", LocalPrefix: "tele/orders/", Qos: 2, Retain: true}},
			})
			lines := sub(t, s.listen, "tele/orders/#")
			s.connected()
			if got := next(t, lines); got != "tele/orders/old 0 kept" && got != "tele/orders/old 1 kept" {
				t.Error(got)
			}
			pub(t, f.listen, "-t", "orders/7/a/b", "-m", "new", "-q", "2")
			if got := next(t, lines); got != "tele/orders/a/b 0 new" {
				t.Error(got)
			}
			if got := next(t, sub(t, s.listen, "tele/orders/a/#")); got != "tele/orders/a/b 1 new" {
				t.Error(got)
			}
			pub(t, f.listen, "-t", "other/7/a", "-m", "not for us")
			pub(t, f.listen, "-t", "orders/7/end", "-m", "end")
			if got := next(t, lines); got != "tele/orders/end 0 end" {
				t.Error(got)
			}
		})
	}
}

// A message that goes out by one bridge and would come in by another passes once.
func TestNothingGoesRound(t *testing.T) {
	f := newFar(t, mosquitto.Anybody)
	s := newSite(t, &mqttv1.Bridge{Url: f.url(), Out: []*mqttv1.BridgeOut{{Topic: "tele/#"}}, In: []*mqttv1.BridgeIn{{Topic: "tele/#"}}})
	other := s.Start("uplink/other", mqttbridge.Kind, &mqttv1.Bridge{
		Url: f.url(), Broker: brokerPath, Out: []*mqttv1.BridgeOut{{Topic: "tele/#"}}, In: []*mqttv1.BridgeIn{{Topic: "tele/#"}},
	})
	s.connected()
	s.Until("both", func() bool { return other.State() == actors.OK })
	lines := sub(t, f.listen, "tele/x")
	s.Until("both hear", func() bool {
		pub(t, s.listen, "-t", "tele/x", "-m", "try")
		<-time.After(100 * time.Millisecond)
		return len(lines) >= 2
	})
	s.Until("quiet", func() bool {
		n := len(lines)
		<-time.After(300 * time.Millisecond)
		return len(lines) == n
	})
	if m := s.status(); m.Looped == 0 && m.Received > 1000 {
		t.Errorf("it goes round: %v", m)
	}
}

// A device at the outside broker works like one at our own, and is switched through the bridge.
func TestADeviceAtAnOutsideBroker(t *testing.T) {
	f := newFar(t, mosquitto.Anybody)
	s := newSite(t, &mqttv1.Bridge{Url: f.url(), Discover: []string{"shellies/#"}})
	data := actorstest.Watch(s.Rig, "data/field/#", &samplev1.Samples{})
	wait := func(text, cause string) {
		t.Helper()
		actorstest.NextWhere(t, data, func(m *samplev1.Samples) bool {
			x := m.Samples[0]
			return fmt.Sprint(x.GetFlag()) == text && strings.Contains(x.Cause, cause) && (cause == "") == (x.Cause == "")
		})
	}
	s.connected()
	pub(t, f.listen, "-t", "dev/lwt", "-m", "online", "-r")
	pub(t, f.listen, "-t", "dev/relay", "-m", "on", "-r")
	device := s.Start(devicePath, mqttdevice.Kind, &mqttv1.Device{
		Broker: bridgePath, Silence: durationpb.New(0),
		Points:       []*mqttv1.DevicePoint{{Name: "relay", Topic: "dev/relay", Type: "flag"}},
		Availability: []*mqttv1.DeviceAvailability{{Topic: "dev/lwt"}},
		Commands:     []*mqttv1.DeviceCommand{{Name: "relay", Topic: "dev/relay/command", On: "on", Off: "off", Confirm: "relay", Timeout: durationpb.New(20 * time.Second)}},
	})
	// It is published on change only and the device is online, so the retained value is current.
	wait("true", "")
	pub(t, f.listen, "-t", "dev/relay", "-m", "off")
	wait("false", "")
	commands := sub(t, f.listen, "dev/relay/command")
	go func() {
		for line := range commands {
			if strings.HasSuffix(line, " on") {
				pub(t, f.listen, "-t", "dev/relay", "-m", "on")
			}
		}
	}()
	got, err := actorstest.Call(s.Rig, devicePath, "Set", &mqttv1.SetRequest{Name: "relay", Value: &mqttv1.SetRequest_Flag{Flag: true}}, &mqttv1.SetResponse{})
	if err != nil || got.Outcome != "confirmed" {
		t.Errorf("%v, %v", got, err)
	}
	pub(t, f.listen, "-t", "shellies/x/relay/0", "-m", "on")
	pub(t, f.listen, "-t", "shellies/x/online", "-m", "true")
	s.Until("it is found", func() bool {
		m, err := actorstest.Call(s.Rig, bridgePath, "ListUnclaimed", &mqttv1.ListUnclaimedRequest{}, &mqttv1.ListUnclaimedResponse{})
		return err == nil && len(m.Devices) == 1 && m.Devices[0].Profile == "shelly1-switch" && m.Devices[0].Device == "x"
	})
	f.stop()
	wait("true", "broker uplink/bridge: ")
	s.Until("unreachable", func() bool { return device.State() == actors.Unreachable })
	f.start()
	s.connected()
	pub(t, f.listen, "-t", "dev/lwt", "-m", "online", "-r")
	s.Until("it is back", func() bool {
		pub(t, f.listen, "-t", "dev/relay", "-m", "off")
		return device.State() == actors.OK
	})
}

// While the disk is full, the latest messages wait in memory, and volatile messages still pass.
func TestAFullDisk(t *testing.T) {
	f := newFar(t, mosquitto.Anybody)
	s := newSiteOn(t, actorstest.NewOn(t, bus.Config{Reserve: 1 << 60}), &mqttv1.Bridge{Url: f.url(), Buffer: 10, Out: []*mqttv1.BridgeOut{
		{Topic: "data/#"}, {Topic: "state/field/#", Volatile: true},
	}})
	s.connected()
	lines := sub(t, f.listen, "state/field/#")
	for i := range 50 {
		s.say(bus.Data, "points", fmt.Sprint(i))
	}
	s.Until("it says so", func() bool {
		return s.bridge.State() == actors.Degraded && strings.Contains(s.bridge.Health().Cause, "outbox: the disk has")
	})
	s.Until("the latest wait", func() bool {
		m := s.status()
		return m.Dropped > 0 && m.Dropped+uint64(m.Buffered) == 50 && m.Sent == 0
	})
	s.say(bus.State, "link", "alive")
	if got := next(t, lines); !strings.HasPrefix(got, "state/field/meter/link 0 {") {
		t.Error(got)
	}
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	openssl := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %q: %v\n%s", args, err, out)
		}
	}
	key := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	openssl(append([]string{"req", "-x509", "-subj", "/CN=ca", "-days", "2", "-keyout", in("ca.key"), "-out", in("ca.pem")}, key...)...)
	if err := os.WriteFile(in("ext"), []byte("subjectAltName=IP:127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"broker", "gateway"} {
		openssl(append([]string{"req", "-subj", "/CN=" + name, "-keyout", in(name + ".key"), "-out", in(name + ".csr")}, key...)...)
		openssl("x509", "-req", "-in", in(name+".csr"), "-CA", in("ca.pem"), "-CAkey", in("ca.key"), "-days", "2", "-extfile", in("ext"), "-out", in(name+".pem"))
	}
	f := newFar(t, fmt.Sprintf("require_certificate true\nuse_identity_as_username true\ncafile %s\ncertfile %s\nkeyfile %s\n", in("ca.pem"), in("broker.pem"), in("broker.key")))
	url := "ssl://" + f.listen
	s := newSite(t, &mqttv1.Bridge{Url: url, Tls: &tlsv1.Client{CaFile: in("ca.pem"), CertFile: in("gateway.pem"), KeyFile: in("gateway.key")}})
	s.connected()
	stranger := s.Start("uplink/stranger", mqttbridge.Kind, &mqttv1.Bridge{Url: url, Tls: &tlsv1.Client{CaFile: in("ca.pem")}})
	s.Until("refused", func() bool { return stranger.State() == actors.Unreachable })
}

func TestABrokerThatRefuses(t *testing.T) {
	f := newFar(t, "allow_anonymous false")
	s := newSite(t, &mqttv1.Bridge{Url: f.url()})
	s.Until("refused", func() bool { return strings.Contains(s.bridge.Health().Cause, "refuse") })
	s.Until("again", func() bool { return s.status().State.Attempts > 2 })
	if m := s.status(); m.State.Connected || m.State.Cause == "" {
		t.Errorf("%v", m)
	}
}

// A connection through which nothing passes any more is given up.
func TestABrokerThatIsHalfOpen(t *testing.T) {
	f := newFar(t, mosquitto.Anybody)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	stall := make(chan struct{})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", f.listen)
			if err != nil {
				near.Close()
				continue
			}
			t.Cleanup(func() { near.Close(); there.Close() })
			go pipe(there, near, stall)
			go pipe(near, there, stall)
		}
	}()
	s := newSite(t, &mqttv1.Bridge{Url: "tcp://" + l.Addr().String(), KeepAlive: durationpb.New(time.Second)})
	s.connected()
	close(stall)
	s.Until("given up", func() bool { return s.bridge.State() == actors.Unreachable })
	if cause := s.bridge.Health().Cause; !strings.Contains(cause, "no longer answers") {
		t.Error(cause)
	}
}

// pipe copies until stall is closed, and then keeps both ends open.
func pipe(to, from net.Conn, stall <-chan struct{}) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-stall:
			return
		default:
		}
		if err != nil {
			to.Close()
			return
		}
		_, _ = to.Write(buf[:n])
	}
}

func TestConfigsThatCannotWork(t *testing.T) {
	out := func(o ...*mqttv1.BridgeOut) *mqttv1.Bridge {
		return &mqttv1.Bridge{Url: "tcp://x:1", Out: o, Broker: brokerPath, Version: "5"}
	}
	loop := out(&mqttv1.BridgeOut{Topic: "tele/#"})
	loop.In, loop.Version = []*mqttv1.BridgeIn{{Topic: "+/x"}}, "3.1.1"
	loop.In[0].LocalPrefix = "in/"
	alone := out(&mqttv1.BridgeOut{Topic: "tele/#"})
	alone.Broker = ""
	for want, cfg := range map[string]*mqttv1.Bridge{
		"is not the last level":                  out(&mqttv1.BridgeOut{Topic: "#/a"}),
		"must be a whole level":                  out(&mqttv1.BridgeOut{Topic: "#", LocalPrefix: "data/", RemotePrefix: "x"}),
		"matches topics of the gateway":          out(&mqttv1.BridgeOut{Topic: "cmd/#"}),
		"begins with a wildcard":                 out(&mqttv1.BridgeOut{Topic: "#"}),
		"the topics overlap with out[0]":         out(&mqttv1.BridgeOut{Topic: "data/#"}, &mqttv1.BridgeOut{Topic: "data/field/#"}),
		"broker is missing: topics of clients":   alone,
		"with session-expiry, a broker may drop": {Url: "tcp://x:1", SessionExpiry: durationpb.New(3.6e12), Out: []*mqttv1.BridgeOut{{Topic: "data/#", Qos: 2}}},
		"messages of out[0] would come in":       loop,
		"matches topics of the gateway: in":      {Url: "tcp://x:1", Broker: brokerPath, In: []*mqttv1.BridgeIn{{Topic: "data/#"}}},
	} {
		want, _, _ = strings.Cut(want, ": in")
		r := actorstest.New(t).Once()
		r.Start(bridgePath, mqttbridge.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("level %d, %v, want %s", f.Level, f, want)
		}
	}
}
