package mqttclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/srv/srvtest"
	"gatewayd/protocols/stranger/strangertest"
)

func dial(t *testing.T, cfg mqttclient.Config) *mqttclient.Client {
	t.Helper()
	k, err := mqttclient.Dial(patient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// versions runs a test with both versions of MQTT.
func versions(t *testing.T, test func(t *testing.T, version int)) {
	for _, v := range []int{4, 5} {
		t.Run(fmt.Sprintf("version %d", v), func(t *testing.T) { test(t, v) })
	}
}

func TestMessagesOfAllQualities(t *testing.T) {
	address := mosquitto.Run(t)
	versions(t, func(t *testing.T, version int) {
		got, kept := make(chan mqttclient.Message, 10), make(chan mqttclient.Message, 10)
		base := fmt.Sprintf("v%d/", version)
		talker := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version})
		if err := talker.Publish(patient(t), mqttclient.Message{Topic: base + "kept", Payload: []byte("old"), QoS: 1, Retain: true}); err != nil {
			t.Fatal(err)
		}
		dial(t, mqttclient.Config{URL: "mqtt://" + address, Version: version, ClientID: "listener", Subscriptions: []mqttclient.Subscription{
			{Filter: base + "a/+", QoS: 2, OnMessage: func(m mqttclient.Message) { got <- m }},
			// Without retained messages.
			{Filter: base + "kept", OnMessage: func(m mqttclient.Message) { got <- m }},
		}})
		dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, Subscriptions: []mqttclient.Subscription{
			{Filter: base + "kept", Kept: true, OnMessage: func(m mqttclient.Message) { kept <- m }},
		}})
		for qos := range byte(3) {
			m := mqttclient.Message{Topic: base + "a/b", Payload: []byte{qos}, QoS: qos, ContentType: "x/y", ResponseTopic: "r", CorrelationData: []byte("c"), User: [][2]string{{"k", "v"}}, Expiry: time.Hour}
			if err := talker.Publish(patient(t), m); err != nil {
				t.Fatal(err)
			}
			back := next(t, got)
			if back.Topic != m.Topic || !slices.Equal(back.Payload, m.Payload) || back.QoS != qos {
				t.Errorf("%+v", back)
			}
			if version == 5 && (back.ContentType != "x/y" || back.ResponseTopic != "r" || string(back.CorrelationData) != "c" || !slices.Equal(back.User, m.User) || back.Expiry > time.Hour) {
				t.Errorf("%+v", back)
			}
		}
		if m := next(t, kept); string(m.Payload) != "old" || !m.Retain || len(got) != 0 {
			t.Errorf("%+v and %d more", m, len(got))
		}
		if sent, received := talker.Traffic(); sent < 60 || received < 10 {
			t.Errorf("%d sent, %d received", sent, received)
		}
	})
}

func TestOverlappingSubscriptions(t *testing.T) {
	address := mosquitto.Run(t)
	narrow, wide, added := make(chan string, 10), make(chan string, 10), make(chan string, 10)
	to := func(out chan string) func(mqttclient.Message) {
		return func(m mqttclient.Message) { out <- string(m.Payload) }
	}
	k := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: 5, Subscriptions: []mqttclient.Subscription{{Filter: "a/b", OnMessage: to(narrow)}, {Filter: "#", OnMessage: to(wide)}}})
	if err := k.Subscribe(patient(t), mqttclient.Subscription{Filter: "a/+", OnMessage: to(added)}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"1", "2"} {
		if err := k.Publish(patient(t), mqttclient.Message{Topic: "a/b", Payload: []byte(s), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []chan string{narrow, wide, added} {
		if a, b := next(t, from), next(t, from); a != "1" || b != "2" {
			t.Error(a, b)
		}
	}
}

func TestManyAtOnceInOrder(t *testing.T) {
	address := mosquitto.Run(t, "max_queued_messages 0")
	versions(t, func(t *testing.T, version int) {
		const n = 5000
		got := make(chan mqttclient.Message, n)
		dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, Subscriptions: []mqttclient.Subscription{{Filter: "many", QoS: 1, OnMessage: func(m mqttclient.Message) { got <- m }}}})
		talker := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version})
		var done []<-chan error
		for i := range n {
			d, err := talker.Start(patient(t), mqttclient.Message{Topic: "many", Payload: fmt.Append(nil, i), QoS: byte(1 + i%2)})
			if err != nil {
				t.Fatal(err)
			}
			done = append(done, d)
		}
		for i, d := range done {
			if err := next(t, d); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		last := [2]int{-1, -1} // of each QoS
		for range n {
			var i int
			if _, err := fmt.Sscan(string(next(t, got).Payload), &i); err != nil || i <= last[i%2] {
				t.Fatalf("%d after %v: %v", i, last, err)
			}
			last[i%2] = i
		}
	})
}

func TestWill(t *testing.T) {
	address := mosquitto.Run(t)
	versions(t, func(t *testing.T, version int) {
		got := make(chan mqttclient.Message, 10)
		dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, Subscriptions: []mqttclient.Subscription{{Filter: "will", OnMessage: func(m mqttclient.Message) { got <- m }}}})
		for _, orderly := range []bool{true, false} {
			var conn net.Conn
			k := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, Will: &mqttclient.Message{Topic: "will", Payload: fmt.Append(nil, "orderly: ", orderly), QoS: 1},
				Dialer: func(ctx context.Context, network, address string) (c net.Conn, err error) {
					conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
					return conn, err
				}})
			if orderly {
				_ = k.Close()
			} else {
				_ = conn.Close()
			}
		}
		if m := next(t, got); string(m.Payload) != "orderly: false" {
			t.Errorf("%s", m.Payload)
		}
	})
}

func TestTheEndOfAConnection(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		address := freeport.Address(t)
		stop := mosquitto.Start(t, address, mosquitto.Anybody)
		lost := make(chan error, 10)
		k := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, OnLost: func(err error) { lost <- err }})
		stop()
		if err := next(t, lost); err == nil || k.Open() {
			t.Errorf("%v, open: %v", err, k.Open())
		}
		if err := k.Publish(patient(t), mqttclient.Message{Topic: "a", QoS: 1}); !errors.Is(err, mqttclient.ErrLost) {
			t.Error(err)
		}
		if err := k.Post(mqttclient.Message{Topic: "a"}, nil); !errors.Is(err, mqttclient.ErrLost) {
			t.Error(err)
		}
		_ = k.Close()
		if len(lost) != 0 {
			t.Error("told twice")
		}
	})
}

func TestRefusals(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, "allow_anonymous false")
	open := mosquitto.Run(t, "max_packet_size 2000", "message_size_limit 1000")
	versions(t, func(t *testing.T, version int) {
		for says, cfg := range map[string]mqttclient.Config{
			"not authorized":           {URL: "tcp://" + address, Username: "Ann", Password: "x"},
			"connection refused":       {URL: "tcp://127.0.0.1:1"},
			`scheme "http" is neither`: {URL: "http://127.0.0.1:1"},
			"is not tcp://host:1883":   {URL: "tcp://"},
		} {
			cfg.Version = version
			if _, err := mqttclient.Dial(patient(t), cfg); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "broker "+cfg.URL) {
				t.Errorf("%v, want %q", err, says)
			}
		}
		k := dial(t, mqttclient.Config{URL: "tcp://" + open, Version: version})
		for _, topic := range []string{"", "a/+", "#"} {
			if err := k.Publish(patient(t), mqttclient.Message{Topic: topic, QoS: 1}); err == nil {
				t.Errorf("%q is a topic", topic)
			}
		}
		if version == 5 {
			if err := k.Publish(patient(t), mqttclient.Message{Topic: "a", QoS: 1, Payload: make([]byte, 3000)}); !errors.Is(err, mqttclient.ErrTooLarge) {
				t.Error(err)
			}
			var refused *mqttclient.RefusedError
			if err := k.Publish(patient(t), mqttclient.Message{Topic: "a", QoS: 1, Payload: make([]byte, 1500)}); !errors.As(err, &refused) {
				t.Error(err)
			}
		}
		if err := k.Publish(patient(t), mqttclient.Message{Topic: "a", QoS: 1}); err != nil {
			t.Error(err)
		}
	})
}

// mute listens and sends these bytes only.
func mute(t *testing.T, says ...byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = conn.Write(says)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return "tcp://" + l.Addr().String()
}

func TestABrokerThatSaysNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := mqttclient.Dial(ctx, mqttclient.Config{URL: mute(t)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	connack := []byte{0x20, 2, 0, 0}
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := mqttclient.Dial(ctx, mqttclient.Config{URL: mute(t, connack...), Subscriptions: []mqttclient.Subscription{{Filter: "a"}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	k := dial(t, mqttclient.Config{URL: mute(t, connack...), Window: 1})
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := k.Publish(ctx, mqttclient.Message{Topic: "a", QoS: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	// The window is full for good.
	if err := k.Post(mqttclient.Message{Topic: "a", QoS: 1}, nil); err == nil {
		t.Error("taken")
	}
}

// A peer that is no broker is distinguished from a slow one, and identified if possible. A broker
// gets the time that its messages take on a very slow link, even with a short keep alive.
func TestPatienceWithALargeMessage(t *testing.T) {
	t.Parallel()
	lost := make(chan error, 1)
	cfg := mqttclient.Config{URL: mute(t, 0x20, 2, 0, 0), Version: 4, KeepAlive: time.Second}
	busy := dial(t, cfg)
	<-time.After(100 * time.Millisecond) // by now it is listening
	if _, err := busy.Start(patient(t), mqttclient.Message{Topic: "a", Payload: make([]byte, 60_000), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	cfg.OnLost = func(err error) { lost <- err }
	dial(t, cfg)
	next(t, lost) // one that has nothing to receive is given up
	if !busy.Open() {
		t.Error("it is given up with the other one")
	}
}

func TestWhoAnswersInstead(t *testing.T) {
	for says, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n": "a web server (HTTP) answers there, not an MQTT broker",
		"INFO {\"server_id\":\"N\"} \r\n":  "a NATS server answers there, not an MQTT broker",
		"SSH-2.0-OpenSSH_9.2p1\r\n":        "an SSH server answers there, not an MQTT broker",
		"\x15\x03\x01\x00\x02\x02\x46":     "a server that requires TLS answers there, not an MQTT broker",
		"220 mail.example ESMTP ready\r\n": `a server that sends "220 mail.example ESMTP ready" answers there, not an MQTT broker`,
		"\x00\x00\x00\x00":                 "no answer to CONNECT: ",
		"":                                 "it accepts the connection but does not answer CONNECT: is it an MQTT broker?",
	} {
		ctx, cancel := patient(t), context.CancelFunc(func() {})
		if says == "" {
			ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		}
		if _, err := mqttclient.Dial(ctx, mqttclient.Config{URL: "tcp://" + strangertest.Says(t, says)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", says, err)
		}
		cancel()
	}
	closes := strangertest.Closes(t)
	for url, want := range map[string]string{
		"tcp://" + closes: "it closes the connection instead of answering CONNECT; for a broker that requires TLS write ssl:// instead of tcp://",
		"ssl://" + closes: "it closes the connection in the TLS handshake; for a broker without TLS write tcp:// instead of ssl://",
	} {
		if _, err := mqttclient.Dial(patient(t), mqttclient.Config{URL: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A broker disconnects a client when another one with the same id connects. With MQTT 3.1.1 it
// cannot say so; with MQTT 5 this one does not.
func TestTwoOfOneName(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	versions(t, func(t *testing.T, version int) {
		lost := make(chan error, 1)
		dial(t, mqttclient.Config{URL: url, Version: version, ClientID: "site-7", OnLost: func(err error) { lost <- err }})
		dial(t, mqttclient.Config{URL: url, Version: version, ClientID: "site-7"})
		if err := next(t, lost); !strings.Contains(err.Error(), `another client uses the client id "site-7" as well`) {
			t.Error(err)
		}
	})
}

func TestWhatIsNoBroker(t *testing.T) {
	for name, says := range map[string][]byte{
		"HTTP": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "an endless length": {0x20, 0xff, 0xff, 0xff, 0xff, 0xff}, "too long": {0x20, 0xff, 0xff, 0xff, 0x7f},
		"another packet": {0xd0, 0}, "an empty CONNACK": {0x20, 0},
	} {
		if _, err := mqttclient.Dial(patient(t), mqttclient.Config{URL: mute(t, says...)}); err == nil {
			t.Errorf("%s is taken for a broker", name)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/+", "a", false}, {"a/#", "a", true}, {"a/#", "a/b/c", true},
		{"#", "a/b", true}, {"#", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"+/b", "a/b", true}, {"a/+/c", "a//c", true}, {"$share/g/a/#", "a/b", true}, {"a", "a/b", false},
	} {
		if got := mqttclient.Matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%s picks %s: %v", tt.filter, tt.topic, got)
		}
	}
}

// Messages from mosquitto's own clients arrive here, and vice versa.
func TestBesideMosquittosOwnClients(t *testing.T) {
	address := mosquitto.Run(t)
	host, port, _ := net.SplitHostPort(address)
	versions(t, func(t *testing.T, version int) {
		got := make(chan mqttclient.Message, 1)
		topic := fmt.Sprintf("peer%d", version)
		k := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, Subscriptions: []mqttclient.Subscription{{Filter: topic, QoS: 2, OnMessage: func(m mqttclient.Message) { got <- m }}}})
		if out, err := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-q", "2", "-t", topic, "-m", "hello").CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_pub: %v\n%s", err, out)
		}
		if m := next(t, got); string(m.Payload) != "hello" {
			t.Errorf("%+v", m)
		}
		if err := k.Publish(patient(t), mqttclient.Message{Topic: "kept", Payload: []byte("hi"), QoS: 2, Retain: true}); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mosquitto_sub", "-h", host, "-p", port, "-t", "kept", "-C", "1", "-W", "20").CombinedOutput(); err != nil || string(out) != "hi\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
}

// A broker named by an SRV record is found, past a target where nothing listens.
func TestBrokerByDNS(t *testing.T) {
	address := mosquitto.Run(t)
	_, port, _ := net.SplitHostPort(address)
	const name = "_mqtt._tcp.example.com"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	k, err := mqttclient.Dial(ctx, mqttclient.Config{URL: "tcp+srv://" + name, ClientID: "x", Resolver: srvtest.Run(t, name, "1", port)})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.Publish(ctx, mqttclient.Message{Topic: "x", QoS: 1}); err != nil {
		t.Error(err)
	}
}
