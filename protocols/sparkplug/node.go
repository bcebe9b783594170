package sparkplug

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// A Config identifies an edge node and defines its metrics.
type Config struct {
	Group, Node string
	Host        string // id of the primary host application; "": births do not wait for one
	Servers     int    // number of servers to try in turn; at least 1
	Plain       bool   // metrics have names in every message; otherwise aliases, after the births
	Places      []Place
	Commands    []Command
}

// A Place says where the records of tracks go. The first match counts; a track without one is a
// device named by its path, with '.' for '/'.
type Place struct {
	Track  string // as in path.Match, e.g. "tracks/*"
	Device string // "": metrics of the node itself
	Prefix string // prefix of the field names
}

// A Command is a metric that hosts may write.
type Command struct {
	Device string // "": of the node itself
	Metric string
	Type   DataType // of the value: Boolean, String, or a number type
}

// Outcome is the suffix of a metric for each writable one, which holds the outcome of the last
// write: "ok" or the reason for the failure.
const Outcome = "/outcome"

const (
	// gap is the minimum time between two births: more requests get one for all, and no data is
	// sent in between.
	gap = time.Second
	// quiet is the time without a record after which values sent only as historical are sent as
	// current.
	quiet = time.Second
	// ahead is how far in the future a record may be and still be current: clocks are adjusted in
	// small steps all the time.
	ahead = 2 * time.Second
	// most is the largest size of the metrics in one message, in bytes; a larger metric is sent
	// alone.
	most = 32 << 10
)

// A Message is to be published, not retained.
type Message struct {
	Topic   string
	QoS     byte
	Payload []byte
}

// A Write is a request of a host.
type Write struct {
	Command Command
	Value   any // int64, uint64, float64, bool or string
}

// Actions is what is to be done now, in this order.
type Actions struct {
	Send   []Message
	Writes []Write
	Notes  []string // messages that were ignored, for the log
	Leave  string   // why the connection is to be closed; Send already contains the node's death
}

// A Node is the state of an edge node. It is told what happens and returns what to do. It is not
// safe for concurrent use. Each message gets the next sequence number, so the messages must be
// published in the order in which they are returned, or the connection closed.
type Node struct {
	cfg     Config
	bdSeq   int // of the last CONNECT; -1: there was none
	seq     int // of the next message
	server  int
	linked  bool // connected
	born    bool
	begin   int64 // beginning of the session, in milliseconds
	clock   int64 // time of the last event, in milliseconds
	birthAt time.Time
	again   time.Time // when requested births are due; zero: none are
	calm    time.Time // when late values become current; zero: there are none

	hosts   []hostState // per server
	devices []*device   // the first one is the node itself
	byName  map[string]*device
	byAlias map[uint64]*metric
	tracks  map[string]*track
}

type hostState struct {
	online, last int64 // times of the last message that it is online, and of the last message
	heard        bool  // any message, ever
	told, up     bool  // on this connection
}

// New returns an edge node whose last CONNECT had bdSeq; -1: there was none.
func New(cfg Config, bdSeq int) (*Node, error) {
	if err := Check(cfg); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, bdSeq: bdSeq, hosts: make([]hostState, max(cfg.Servers, 1)), byName: map[string]*device{},
		byAlias: map[uint64]*metric{}, tracks: map[string]*track{}}
	n.device("")
	for _, c := range cfg.Commands {
		d := n.device(c.Device)
		d.writable = true
		m, how := n.metric(d, c.Metric), n.metric(d, c.Metric+Outcome)
		m.write, m.typ, how.typ = &c, c.Type, String
	}
	return n, nil
}

// Check returns what is wrong with a config.
func Check(cfg Config) error {
	var errs []error
	id := func(what, id string) {
		if err := CheckID(id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	id("group", cfg.Group)
	id("node", cfg.Node)
	if cfg.Host != "" {
		id("primary host", cfg.Host)
	}
	spelled := map[string]string{}
	device := func(d string) {
		if d == "" {
			return
		}
		id("device", d)
		if other, ok := spelled[strings.ToLower(d)]; ok && other != d {
			errs = append(errs, fmt.Errorf("devices %q and %q differ in case only", other, d))
		}
		spelled[strings.ToLower(d)] = d
	}
	for _, p := range cfg.Places {
		if _, err := path.Match(p.Track, ""); err != nil {
			errs = append(errs, fmt.Errorf("track %q: %w", p.Track, err))
		}
		device(p.Device)
	}
	seen := map[string]bool{}
	for _, c := range cfg.Commands {
		device(c.Device)
		key := c.Device + "\x00" + strings.ToLower(c.Metric)
		switch {
		case c.Metric == "" || strings.EqualFold(c.Metric, Rebirth) || strings.EqualFold(c.Metric, bdSeqName):
			errs = append(errs, fmt.Errorf("metric %q cannot be a command", c.Metric))
		case seen[key]:
			errs = append(errs, fmt.Errorf("metric %q of device %q is defined twice", c.Metric, c.Device))
		case c.Type != Boolean && c.Type != String && !number64(c.Type):
			errs = append(errs, fmt.Errorf("metric %q: a command is a number, a Boolean or a String", c.Metric))
		}
		seen[key] = true
	}
	return errors.Join(errs...)
}

func number64(t DataType) bool { return t >= Int8 && t <= Double }

// topic returns a topic of the node itself or of one of its devices.
func (n *Node) topic(verb, device string) string {
	return Topic(n.cfg.Group, verb, n.cfg.Node, device)
}

// Subscriptions returns the topics to subscribe to before anything is published, all with QoS 1.
func (n *Node) Subscriptions() []string {
	all := []string{n.topic(NCMD, "")}
	for _, d := range n.devices[1:] {
		if d.writable {
			all = append(all, n.topic(DCMD, d.id))
		}
	}
	if n.cfg.Host != "" {
		all = append(all, StateTopic(n.cfg.Host))
	}
	return all
}

// Server returns the index of the server to connect to.
func (n *Node) Server() int { return n.server }

// Walk moves on to the next server, because the present one cannot be used.
func (n *Node) Walk() { n.server = (n.server + 1) % len(n.hosts) }

// Connect begins an attempt to connect: it increments bdSeq, which must be stored before the
// CONNECT is sent. will is the will of the CONNECT.
func (n *Node) Connect(now time.Time) (will Message, bdSeq int) {
	n.bdSeq = (n.bdSeq + 1) % 256
	n.linked, n.born, n.again, n.calm = false, false, time.Time{}, time.Time{}
	n.hosts[n.server].told, n.hosts[n.server].up = false, false
	return n.death(now), n.bdSeq
}

// Recall sets the bdSeq of the last CONNECT before a restart; -1: there was none.
func (n *Node) Recall(bdSeq int) { n.bdSeq = bdSeq }

// Unsaid is called if no CONNECT was sent: the attempt does not count.
func (n *Node) Unsaid() { n.bdSeq = (n.bdSeq + 255) % 256 }

func (n *Node) death(now time.Time) Message {
	p := Payload{Time: now.UnixMilli(), Seq: NoSeq, Metrics: []Metric{n.bdSeqMetric(now, 0)}}
	return Message{Topic: n.topic(NDEATH, ""), QoS: 1, Payload: p.Append(nil)}
}

func (n *Node) bdSeqMetric(now time.Time, alias uint64) Metric {
	return Metric{Name: bdSeqName, Alias: alias, Time: now.UnixMilli(), Type: Int64, Value: Long(n.bdSeq)}
}

// Connected is called when the server has accepted the CONNECT and all subscriptions.
func (n *Node) Connected(now time.Time) Actions {
	n.linked = true
	if n.cfg.Host != "" && !n.hosts[n.server].up {
		return Actions{}
	}
	return n.births(now)
}

// Lost is called when the connection has ended.
func (n *Node) Lost() { n.linked, n.born = false, false }

// Leave returns what to publish before the connection is closed on purpose.
func (n *Node) Leave(now time.Time) []Message {
	if !n.linked {
		return nil
	}
	n.linked, n.born = false, false
	return []Message{n.death(now)}
}

// Born reports whether data can be sent: births were published, and none are due.
func (n *Node) Born() bool { return n.born && n.again.IsZero() }

// Patience is how long to wait for what is Due at most, whatever the clock says.
const Patience = time.Second

// Due returns when Wake is to be called; zero: never.
func (n *Node) Due() time.Time {
	switch {
	case !n.linked || !n.born:
		return time.Time{}
	case !n.again.IsZero():
		return n.again
	}
	return n.calm
}

// Waiting returns what keeps a connected node from publishing its births.
func (n *Node) Waiting() string {
	h := n.hosts[n.server]
	switch {
	case n.born || !n.linked || n.cfg.Host == "":
		return ""
	case !h.told:
		return fmt.Sprintf("no STATE message from the primary host %s yet", n.cfg.Host)
	}
	return fmt.Sprintf("the primary host %s is offline since %s", n.cfg.Host, time.UnixMilli(h.last).UTC().Format(time.RFC3339))
}

// Host handles a message on the topic of a host application.
func (n *Node) Host(topic string, payload []byte, now time.Time) Actions {
	if n.cfg.Host == "" || topic != StateTopic(n.cfg.Host) {
		return Actions{}
	}
	s, err := ParseState(payload)
	if err != nil {
		return Actions{Notes: []string{err.Error()}}
	}
	h := &n.hosts[n.server]
	if s.Online {
		if h.heard && s.Time < h.last {
			return Actions{Notes: []string{fmt.Sprintf("the primary host reports online as of %d, but a later state, as of %d, was received before", s.Time, h.last)}}
		}
		h.heard, h.told, h.up, h.online, h.last = true, true, true, s.Time, s.Time
		if !n.linked || n.born {
			return Actions{}
		}
		return n.births(now)
	}
	if h.heard && s.Time < h.online {
		return Actions{Notes: []string{fmt.Sprintf("the primary host reports offline as of %d, but was online at %d", s.Time, h.online)}}
	}
	h.heard, h.told, h.up, h.last = true, true, false, max(h.last, s.Time)
	if !n.linked || !n.born && len(n.hosts) == 1 {
		return Actions{} // it waits here
	}
	do := Actions{Send: n.Leave(now), Leave: fmt.Sprintf("the primary host %s is offline", n.cfg.Host)}
	n.Walk()
	return do
}
