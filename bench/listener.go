package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
)

// listener counts messages by the name of their source.
type listener struct {
	mu     sync.Mutex
	count  map[string]int
	last   map[string]uint64 // sequence
	gaps   int
	wrong  int    // messages without good values
	cause  string // cause of the last such message
	total  int
	closed func()
}

func newListener() *listener { return &listener{count: map[string]int{}, last: map[string]uint64{}} }

var mark = []byte(`"sequence":"`)

// take counts one message. Its sequence number, if it has one, must follow the last one of that
// name.
func (l *listener) take(name string, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	l.count[name]++
	if bytes.Contains(payload, []byte(`"quality"`)) {
		l.wrong++
		_, why, _ := bytes.Cut(payload, []byte(`"cause":"`))
		why, _, _ = bytes.Cut(why, []byte{'"'})
		l.cause = string(why)
	}
	_, rest, ok := bytes.Cut(payload, mark)
	if !ok {
		return
	}
	digits, _, _ := bytes.Cut(rest, []byte{'"'})
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		l.wrong++
		return
	}
	if was := l.last[name]; was != 0 && seq != was+1 {
		l.gaps++
	}
	l.last[name] = seq
}

// reset restarts the counters; sequences continue.
func (l *listener) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.count)
	l.total, l.gaps, l.wrong, l.cause = 0, 0, 0, ""
}

// units returns how many sources were heard.
func (l *listener) units() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.count)
}

// verdict returns what is wrong with the messages of n sources, each of which must have sent at
// least least of them; empty: nothing.
func (l *listener) verdict(n, least int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	few := 0
	for _, c := range l.count {
		if c < least {
			few++
		}
	}
	if len(l.count) == n && few == 0 && l.gaps == 0 && l.wrong == 0 {
		return ""
	}
	why := ""
	if l.cause != "" {
		why = ": " + l.cause
	}
	return fmt.Sprintf("%d of %d heard, %d of them less than %d times, %d gaps, %d without good values%s", len(l.count), n, few, least, l.gaps, l.wrong, why)
}

func (l *listener) heard() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// onBus listens on a NATS port of another process.
func onBus(url, pattern string, opts ...nats.Option) (*listener, error) {
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, err
	}
	l := newListener()
	l.closed = nc.Close
	if _, err := nc.Subscribe(pattern, func(m *nats.Msg) { l.take(m.Subject, m.Data) }); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nc.Flush()
}

// onMQTT listens to a broker at QoS 0.
func onMQTT(port int, filter string, name func(topic string, payload []byte) string) (*listener, error) {
	l := newListener()
	o := mqtt.NewClientOptions().AddBroker("tcp://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))).SetClientID("bench").SetAutoReconnect(false)
	c := mqtt.NewClient(o)
	if t := c.Connect(); !t.WaitTimeout(5*time.Second) || t.Error() != nil {
		return nil, fmt.Errorf("connect to the broker: %w", t.Error())
	}
	l.closed = func() { c.Disconnect(100) }
	t := c.Subscribe(filter, 0, func(_ mqtt.Client, m mqtt.Message) { l.take(name(m.Topic(), m.Payload()), m.Payload()) })
	if !t.WaitTimeout(5*time.Second) || t.Error() != nil {
		l.closed()
		return nil, fmt.Errorf("subscribe: %w", t.Error())
	}
	return l, nil
}

// byTopic names a message after its topic.
func byTopic(topic string, _ []byte) string { return topic }

// byTag names a message of Telegraf after its tag for the unit.
func byTag(_ string, payload []byte) string {
	var m struct {
		Tags struct {
			Name string `json:"name"`
		} `json:"tags"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return ""
	}
	return m.Tags.Name
}
