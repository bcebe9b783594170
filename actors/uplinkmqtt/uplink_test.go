package uplinkmqtt_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmqtt"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

const path = "uplinks/cloud"

func TestManners(t *testing.T) {
	actorstest.Conform(t, uplinkmqtt.Kind, &uplinkv1.UplinkMqtt{Url: "tcp://127.0.0.1:9"})
}

// inbox is what an application behind the broker has received.
type inbox struct {
	*mqttclient.Client
	mu  sync.Mutex
	all []mqttclient.Message
}

func listen(t *testing.T, address string, filters ...string) *inbox {
	t.Helper()
	in := &inbox{}
	cfg := mqttclient.Config{URL: "tcp://" + address, Version: 5}
	for _, f := range filters {
		cfg.Subscriptions = append(cfg.Subscriptions, mqttclient.Subscription{Filter: f, QoS: 2, Kept: true, OnMessage: func(m mqttclient.Message) {
			in.mu.Lock()
			in.all = append(in.all, m)
			in.mu.Unlock()
		}})
	}
	k, err := mqttclient.Dial(patient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	in.Client = k
	return in
}

func (in *inbox) messages() []mqttclient.Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.all)
}

// sequences returns the sequences of the records in all messages of shape plain, without
// repetitions.
func (in *inbox) sequences(t *testing.T) (all []uint64) {
	last := uint64(0)
	for _, m := range in.messages() {
		var records []struct{ Sequence uint64 }
		if err := json.Unmarshal(m.Payload, &records); err != nil {
			t.Fatalf("%v: %q", err, m.Payload)
		}
		for _, r := range records {
			if r.Sequence > last {
				all = append(all, r.Sequence)
				last = r.Sequence
			}
		}
	}
	return all
}

// write stores n records of a track, beginning with sequence first.
func write(t *testing.T, r *actorstest.Rig, first, n uint64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: "tracks/energy", Number: 1, First: first, Count: n, Boot: "b"}, func(uint64) []record.Field {
		return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: 1.5}}
	})
}

func config(address string) *uplinkv1.UplinkMqtt {
	return &uplinkv1.UplinkMqtt{Url: "tcp://" + address, Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(5 * time.Millisecond), Timeout: durationpb.New(10 * time.Second)}}
}

func TestRecordsReachABroker(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	for _, version := range []string{"3.1.1", "5"} {
		for qos := range uint32(2) {
			t.Run(fmt.Sprint(version, " QoS ", qos+1), func(t *testing.T) {
				r, in := actorstest.New(t), listen(t, address, fmt.Sprintf("got%s/%d/#", version, qos))
				cfg := config(address)
				cfg.Version, cfg.Qos, cfg.Topic = version, qos+1, fmt.Sprintf("got%s/%d/${gateway}/${track}", version, qos)
				r.Start(path, uplinkmqtt.Kind, cfg)
				write(t, r, 1, 700)
				write(t, r, 701, 1)
				r.Until("all is there", func() bool { return len(in.sequences(t)) == 701 })
				if got := in.sequences(t); !slices.Equal(got, uplinktest.UpTo(701)) {
					t.Errorf("%v", got)
				}
				if m := in.messages()[0]; !strings.HasSuffix(m.Topic, "/test/tracks/energy") || version == "5" && m.ContentType != "application/json" {
					t.Errorf("%+v", m)
				}
			})
		}
	}
}

// A broker that goes down and comes back gets everything.
func TestABrokerThatComesAndGoes(t *testing.T) {
	address := freeport.Address(t)
	r := actorstest.New(t)
	cell := r.Start(path, uplinkmqtt.Kind, config(address))
	n := uint64(0)
	for range 3 {
		write(t, r, n+1, 50) // there is no broker
		n += 50
		r.Until("it is missed", func() bool { return cell.State() == actors.Unreachable })
		stop := mosquitto.Start(t, address, mosquitto.Anybody)
		write(t, r, n+1, 100)
		n += 100
		r.Until("the broker has all", func() bool {
			s := uplinktest.Status(t, r, path)
			return s.Begun && s.Backlog.Records == 0 && s.Counts.Acknowledged >= n && cell.State() == actors.OK
		})
		stop()
	}
	if s := uplinktest.Status(t, r, path); s.Counts.Connections < 3 || s.Counts.Rejected+s.Counts.Lost+s.Counts.LeftOut > 0 || cell.Life() != 1 {
		t.Errorf("%v, life %d", s, cell.Life())
	}
}

// A record counts only when the application has acknowledged it.
func TestAnApplicationAcknowledges(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	r, in := actorstest.New(t), listen(t, address, "up/#")
	cfg := config(address)
	cfg.Shape, cfg.Topic, cfg.AckTopic = "custom", "up/${gateway}", "acks/${gateway}"
	cfg.Custom = &uplinkv1.Shape{Begin: `{"batch":${batch},"sequences":[`, Between: ",", End: "]}", Record: "${sequence}"}
	r.Start(path, uplinkmqtt.Kind, cfg)
	write(t, r, 1, 10)
	r.Until("it is there", func() bool { return len(in.messages()) == 1 })
	if s := uplinktest.Status(t, r, path); s.Counts.Acknowledged != 0 || s.Backlog.Records != 10 {
		t.Errorf("%v", s)
	}
	var m struct{ Batch string }
	if err := json.Unmarshal(in.messages()[0].Payload, &m); err != nil || m.Batch == "" {
		t.Fatalf("%v: %s", err, in.messages()[0].Payload)
	}
	for _, say := range []string{"nonsense", `{"ack":"other"}`, fmt.Sprintf(`{"ack":%q}`, m.Batch)} {
		if err := in.Publish(patient(t), mqttclient.Message{Topic: "acks/test", Payload: []byte(say), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	r.Until("it counts", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.Counts.Acknowledged == 10 && s.Backlog.Records == 0
	})
}

func TestCommandsAndPresence(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	for _, version := range []string{"3.1.1", "5"} {
		t.Run(version, func(t *testing.T) {
			r, in := actorstest.New(t), listen(t, address, "gatewayd/test/answer/#", "my/answers", "presence"+version)
			cfg := config(address)
			cfg.Version, cfg.PresenceTopic, cfg.Commands = version, "presence"+version, &uplinkv1.Commands{Allow: []string{"cmd/uplinks/+/Status"}}
			cell := r.Start(path, uplinkmqtt.Kind, cfg)
			next := func(n int) mqttclient.Message {
				t.Helper()
				r.Until("an answer", func() bool { return len(in.messages()) > n })
				return in.messages()[n]
			}
			if m := next(0); m.Topic != "presence"+version || string(m.Payload) != "online" {
				t.Errorf("%+v", m)
			}
			for _, c := range []mqttclient.Message{
				{Topic: "gatewayd/test/cmd/uplinks/cloud/Status", Payload: []byte("{}")},
				{Topic: "gatewayd/test/cmd/uplinks/cloud/Restart"},
				{Topic: "gatewayd/test/cmd/uplinks/cloud/Status", ResponseTopic: "my/answers", CorrelationData: []byte("c7")},
			} {
				n := len(in.messages())
				c.QoS = 1
				if err := in.Publish(patient(t), c); err != nil {
					t.Fatal(err)
				}
				m := next(n)
				switch {
				case c.ResponseTopic != "" && version == "5":
					if m.Topic != "my/answers" || string(m.CorrelationData) != "c7" || !strings.HasPrefix(string(m.Payload), `{"result":`) {
						t.Errorf("%+v", m)
					}
				case strings.HasSuffix(c.Topic, "Restart"):
					if m.Topic != "gatewayd/test/answer/uplinks/cloud/Restart" || !strings.Contains(string(m.Payload), "not among the commands") {
						t.Errorf("%s %s", m.Topic, m.Payload)
					}
				default:
					if m.Topic != "gatewayd/test/answer/uplinks/cloud/Status" || !strings.Contains(string(m.Payload), `"connections":"1"`) {
						t.Errorf("%s %s", m.Topic, m.Payload)
					}
				}
			}
			n := len(in.messages())
			r.Stop(cell)
			if m := next(n); m.Topic != "presence"+version || string(m.Payload) != "offline" {
				t.Errorf("%+v", m)
			}
		})
	}
}

// Debian's own client receives what is sent.
func TestBesideMosquittoSub(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	host, port, _ := net.SplitHostPort(address)
	r := actorstest.New(t)
	cfg := config(address)
	cfg.Shape, cfg.Retain = "thingsboard", true
	cfg.Login = &mqttv1.Login{Username: "token"}
	r.Start(path, uplinkmqtt.Kind, cfg)
	write(t, r, 1, 1)
	out, err := exec.Command("mosquitto_sub", "-h", host, "-p", port, "-t", "v1/devices/me/telemetry", "-C", "1", "-W", "30").CombinedOutput()
	if want := `[{"ts":1800000000000,"values":{"energy.power":1.5}}]` + "\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestWrongConfigs(t *testing.T) {
	for says, spoil := range map[string]func(*uplinkv1.UplinkMqtt){
		"must contain ${batch}":     func(c *uplinkv1.UplinkMqtt) { c.AckTopic = "acks" },
		"topic is missing":          func(c *uplinkv1.UplinkMqtt) { c.Shape, c.Custom = "custom", &uplinkv1.Shape{Record: "x"} },
		"presence-topic: ${time}":   func(c *uplinkv1.UplinkMqtt) { c.PresenceTopic = "${time}" },
		"${sequence} is not one of": func(c *uplinkv1.UplinkMqtt) { c.Topic = "a/${sequence}" },
	} {
		cfg := &uplinkv1.UplinkMqtt{Url: "tcp://a:1", Shape: "plain"}
		spoil(cfg)
		if text := fmt.Sprint(uplinkmqtt.Kind.Check(cfg)); !strings.Contains(text, says) {
			t.Errorf("%s, want %q", text, says)
		}
	}
}
