package uplinksparkplug_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/actors/uplinksparkplug"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/monitor"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	trackv1 "gatewayd/schemas/track/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "clouds/scada"

func TestConform(t *testing.T) {
	cfg := &uplinkv1.UplinkSparkplug{Servers: []string{"tcp://127.0.0.1:1"}, Group: "g"}
	actorstest.Conform(t, uplinksparkplug.Kind, cfg, tcplink.Kind, modbusunit.Kind)
}

// keep stores one record of a track.
func keep(t *testing.T, r *actorstest.Rig, track string, n uint64, power float64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: track, Number: 1, First: n, Count: 1, Boot: "boot"}, func(uint64) []record.Field {
		return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: power}}
	})
}

// A unit records what is written to it.
type unit chan<- *modbusv1.WriteRegistersRequest

func (u unit) Receive(c *actors.Context, msg any) error {
	if m, ok := msg.(*modbusv1.WriteRegistersRequest); ok {
		u <- m
		c.Reply(&modbusv1.WriteRegistersResponse{})
	}
	return nil
}

// Stored records reach the host, a write of the host reaches the actor, and bdSeq continues after a
// restart.
func TestFromTheStoreToTheHostAndBack(t *testing.T) {
	r := actorstest.New(t)
	broker := mosquitto.Run(t)
	m := monitor.New("site", actorstest.Gateway, "")
	m.Resume(-1)
	m.Writable = map[string]bool{"boiler": true}
	shared := monitor.Share(m)
	tap, err := monitor.NewTap(shared, broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	heard := make(chan string, 1000)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	host, err := mqttclient.Dial(ctx, mqttclient.Config{URL: "tcp://" + broker, Subscriptions: []mqttclient.Subscription{{Filter: "spBv1.0/site/#", QoS: 1, OnMessage: func(m mqttclient.Message) {
		w, _ := sparkplug.ParseTopic(m.Topic)
		p, err := sparkplug.Parse(m.Payload)
		if err != nil || w.Verb == sparkplug.DCMD {
			return
		}
		for _, x := range p.Metrics {
			heard <- fmt.Sprint(w.Verb, " ", w.Device, " ", x.Name, " ", x.Value)
		}
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	asked := make(chan *modbusv1.WriteRegistersRequest, 1)
	r.Start("field/boiler", actors.Define(actors.Kind{Name: "unit", Doc: "is for tests", Services: []protoreflect.ServiceDescriptor{
		actors.Service(modbusv1.File_modbus_v1_modbus_proto, "UnitService")}}, func(*structpb.Struct) actors.Actor { return unit(asked) }), &structpb.Struct{})
	keep(t, r, "tracks/boiler", 1, 1.5)
	cfg := &uplinkv1.UplinkSparkplug{Servers: []string{"tcp://" + tap.Address()}, Group: "site", Names: true,
		Send:   &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(10 * time.Millisecond)},
		Places: []*uplinkv1.SparkplugPlace{{Track: "tracks/*", Device: "boiler", Prefix: "Electric/"}},
		Writes: []*uplinkv1.SparkplugWrite{{Device: "boiler", Metric: "setpoint", Type: "UInt16", Actor: "field/boiler", Method: "WriteRegisters", Request: `{"address":10,"values":[{value}]}`}}}
	shared.Do(func(m *monitor.Monitor) { m.Aliases = false })
	cell := r.Start(path, uplinksparkplug.Kind, proto.Clone(cfg))
	until := func(want string) { actorstest.NextWhere(t, heard, func(s string) bool { return s == want }) }
	until("DDATA boiler Electric/power 1.5")
	status := func() *uplinkv1.Status {
		s, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Status
	}
	r.Until("it is acknowledged", func() bool { return status().GetCounts().GetAcknowledged() == 1 && cell.State() == actors.OK })
	p := sparkplug.Payload{Time: 1, Seq: sparkplug.NoSeq, Metrics: []sparkplug.Metric{{Name: "setpoint", Value: sparkplug.Int(70)}}}
	if err := host.Publish(ctx, mqttclient.Message{Topic: sparkplug.Topic("site", sparkplug.DCMD, actorstest.Gateway, "boiler"), Payload: p.Append(nil), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if q := actorstest.Next(t, asked); q.GetAddress() != 10 || len(q.Values) != 1 || q.Values[0] != 70 {
		t.Errorf("%v", q)
	}
	until("DDATA boiler setpoint/outcome ok")
	shared.Do(func(m *monitor.Monitor) { m.Stopping = true })
	r.Stop(cell)
	cell.Remove()
	until("NDEATH  bdSeq 0")
	keep(t, r, "tracks/boiler", 2, 2.5)
	shared.Rest()
	r.Start(path, uplinksparkplug.Kind, proto.Clone(cfg))
	until("NBIRTH  bdSeq 1")
	until("DDATA boiler Electric/power 2.5")
	shared.Do(func(m *monitor.Monitor) {
		if f := m.Failures(); len(f) > 0 {
			t.Errorf("%s", strings.Join(f, "\n"))
		}
	})
}

func TestCheck(t *testing.T) {
	for _, x := range []struct {
		change func(*uplinkv1.UplinkSparkplug)
		want   string
	}{
		{func(c *uplinkv1.UplinkSparkplug) {}, ""},
		{func(c *uplinkv1.UplinkSparkplug) { c.Servers = nil }, "servers"},
		{func(c *uplinkv1.UplinkSparkplug) { c.Group = "a/b" }, "group"},
		{func(c *uplinkv1.UplinkSparkplug) {
			c.PrimaryHost, c.Settle = "h", durationpb.New(time.Minute)
		}, "settle"},
		{func(c *uplinkv1.UplinkSparkplug) {
			c.Places = []*uplinkv1.SparkplugPlace{{Track: "a", Device: "X"}, {Track: "b", Device: "x"}}
		}, "differ in case"},
		{func(c *uplinkv1.UplinkSparkplug) {
			c.Writes = []*uplinkv1.SparkplugWrite{{Metric: "m", Type: "Double", Actor: "a", Method: "Do", Request: "{value"}}
		}, "is not JSON"},
	} {
		c := &uplinkv1.UplinkSparkplug{Servers: []string{"tcp://127.0.0.1:1883"}, Group: "g"}
		schemas.Defaults(c)
		c.Send = &uplinkv1.Sending{}
		schemas.Defaults(c.Send)
		x.change(c)
		got := fmt.Sprint(append(schemas.Check(c), uplinksparkplug.Kind.Check(c)...))
		if (got == "[]") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s, want %s", got, x.want)
		}
	}
}

// A place that picks no track is told.
func TestPlacesThatPickNoTrack(t *testing.T) {
	got := uplinksparkplug.Kind.Beside([]schemas.Actor{
		{Path: "tracks/boiler", Config: &trackv1.Track{}},
		{Path: "far", Config: &uplinkv1.UplinkSparkplug{Places: []*uplinkv1.SparkplugPlace{{Track: "tracks/b*"}, {Track: "tracks/boler"}, {Track: "*"}}}},
	})
	var all []string
	for _, f := range got {
		all = append(all, fmt.Sprint(f.Actor, " ", f.Field, " ", f.Warning, ": ", f.Message))
	}
	want := []string{`far places[1].track true: "tracks/boler" matches no track, did you mean "tracks/boiler"?`, `far places[2].track true: "*" matches no track`}
	if !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
}
