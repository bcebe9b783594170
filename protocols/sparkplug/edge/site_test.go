package edge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/edge"
	"gatewayd/protocols/sparkplug/monitor"
	"gatewayd/protocols/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A site is servers with a tap before each, a primary host connected to all of them, and a node.
type site struct {
	t       *testing.T
	servers []string
	taps    []*monitor.Tap
	shared  *monitor.Shared
	cfg     edge.Config
	edge    *edge.Edge
	hear    uplink.Callbacks
	lost    chan error
	hosts   []*mqttclient.Client
	stamp   int64

	mu     sync.Mutex
	heard  []told
	states map[string]string
	saved  []int
	change chan struct{}
}

// told is a message that has reached the host.
type told struct {
	sparkplug.ParsedTopic
	*sparkplug.Payload
}

func newSite(t *testing.T, servers int, host string, more func(*edge.Config)) *site {
	s := &site{t: t, lost: make(chan error, 100), change: make(chan struct{}), stamp: 1, states: map[string]string{}}
	m := monitor.New("plant", "gw", host)
	m.Writable = map[string]bool{"boiler": true}
	s.shared = monitor.Share(m)
	s.cfg = edge.Config{Node: sparkplug.Config{Group: "plant", Node: "gw", Host: host}, Save: func(_ context.Context, bdSeq int) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saved = append(s.saved, bdSeq)
		return nil
	}}
	for range servers {
		address := mosquitto.Run(t, "max_queued_messages 0", "set_tcp_nodelay true")
		tap, err := monitor.NewTap(s.shared, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tap.Close() })
		s.servers, s.taps = append(s.servers, address), append(s.taps, tap)
		s.cfg.Servers = append(s.cfg.Servers, mqttclient.Config{URL: "tcp://" + tap.Address(), ClientID: "gw"})
	}
	if more != nil {
		more(&s.cfg)
	}
	s.hear.Lost = func(err error) { s.lost <- err }
	s.restart(-1)
	for i := range s.servers {
		s.hosts = append(s.hosts, s.host(i))
	}
	return s
}

// restart creates the node anew, as after a restart of the process.
func (s *site) restart(bdSeq int) {
	s.cfg.Load = func(context.Context) (int, error) { return bdSeq, nil }
	e, err := edge.New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.edge = e
	s.shared.Do(func(m *monitor.Monitor) { m.Resume(bdSeq) })
}

// host connects a host to a server.
func (s *site) host(server int) *mqttclient.Client {
	k, err := mqttclient.Dial(patient(s.t), mqttclient.Config{URL: "tcp://" + s.servers[server], ClientID: "host", Subscriptions: []mqttclient.Subscription{
		{Filter: "spBv1.0/plant/#", QoS: 1, OnMessage: s.hearing}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = k.Close() })
	return k
}

func (s *site) hearing(m mqttclient.Message) {
	w, ok := sparkplug.ParseTopic(m.Topic)
	p, err := sparkplug.Parse(m.Payload)
	if !ok || err != nil || w.Verb == sparkplug.NCMD || w.Verb == sparkplug.DCMD {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, told{w, p})
	close(s.change)
	s.change = make(chan struct{})
}

// say publishes the host's state, with a newer time, on the given servers.
func (s *site) say(online bool, servers ...int) {
	s.stamp++
	for _, i := range servers {
		s.publish(i, sparkplug.StateTopic("scada"), true, fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, online, s.stamp))
	}
}

func (s *site) publish(server int, topic string, retain bool, payload []byte) {
	if err := s.hosts[server].Publish(patient(s.t), mqttclient.Message{Topic: topic, Payload: payload, QoS: 1, Retain: retain}); err != nil {
		s.t.Fatal(err)
	}
}

// command makes the host write a metric.
func (s *site) command(server int, device, metric string, v sparkplug.Value) {
	verb := sparkplug.NCMD
	if device != "" {
		verb = sparkplug.DCMD
	}
	p := sparkplug.Payload{Time: 1, Seq: sparkplug.NoSeq, Metrics: []sparkplug.Metric{{Name: metric, Value: v}}}
	s.publish(server, sparkplug.Topic("plant", verb, "gw", device), false, p.Append(nil))
}

func (s *site) dial() uplink.Sender {
	s.t.Helper()
	x, err := s.edge.Dial(patient(s.t), s.hear)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// until waits until the messages received by the host satisfy ok.
func (s *site) until(what string, ok func(all []told) bool) {
	s.t.Helper()
	for end := time.After(patience); ; {
		s.mu.Lock()
		yes, change := ok(s.heard), s.change
		s.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-change:
		case <-end:
			s.t.Fatalf("never: %s\n%s", what, s.story())
		}
	}
}

// count returns how many messages have a verb.
func count(all []told, verb string) (n int) {
	for _, m := range all {
		if m.Verb == verb {
			n++
		}
	}
	return n
}

func (s *site) story() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, m := range s.heard {
		fmt.Fprintf(&b, "%s %s seq %d %+v\n", m.Verb, m.Device, m.Seq, m.Metrics)
	}
	return b.String()
}

// fine fails the test if an assertion does not hold.
func (s *site) fine() {
	s.t.Helper()
	s.shared.Do(func(m *monitor.Monitor) {
		if f := m.Failures(); len(f) > 0 {
			s.t.Errorf("%s", strings.Join(f, "\n"))
		}
	})
}

// stopping tells the monitor whether the node was told to disconnect.
func (s *site) stopping(yes bool) { s.shared.Do(func(m *monitor.Monitor) { m.Stopping = yes }) }

func one(track string, n uint64, at time.Time, fields ...any) record.Record {
	r := record.Record{Track: track, Sequence: n, Time: at}
	for i := 0; i < len(fields); i += 2 {
		r.Fields = append(r.Fields, record.Field{Name: fields[i].(string), Value: fields[i+1], Unit: "kW"})
	}
	return r
}
