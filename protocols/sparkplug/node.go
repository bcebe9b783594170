package sparkplug

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// A Config says who an edge node is and what it shows.
type Config struct {
	Group, Node string
	Host        string // id of the primary host application; "": births are said without waiting for one
	Servers     int    // how many there are to walk through; at least 1
	Plain       bool   // metrics are named in every message; otherwise by aliases, as soon as they are born
	Places      []Place
	Commands    []Command
}

// A Place tells where the records of tracks go. The first one that fits counts; a track without one is a device named by its path, with
// '.' for '/'.
type Place struct {
	Track  string // as in path.Match, e.g. "tracks/*"
	Device string // "": metrics of the node itself
	Prefix string // put before the names of the fields
}

// A Command is a metric that hosts may write.
type Command struct {
	Device string // "": of the node itself
	Metric string
	Type   DataType // of the value: Boolean, String, or one of the numbers
}

// Outcome is added to the name of a metric that can be written: a metric that says how the last write went, "ok" or why not.
const Outcome = "/outcome"

const (
	// gap is the least time between two births: who asks more often gets one for all, and no data in between.
	gap = time.Second
	// quiet is how long no record comes until the values that were told as historical only are told as current.
	quiet = time.Second
	// ahead is how far a record may be in the future and still be current: clocks are set by small steps all the time.
	ahead = 2 * time.Second
	// most bytes of metrics in one message; each is sent alone if it is larger.
	most = 32 << 10
)

// A Message is to be published, not retained.
type Message struct {
	Topic   string
	QoS     byte
	Payload []byte
}

// A Write is what a host asks for.
type Write struct {
	Command Command
	Value   any // int64, uint64, float64, bool or string
}

// Do is what is to be done now, in this order.
type Do struct {
	Send   []Message
	Writes []Write
	Notes  []string // what came and was not followed, for the log
	Leave  string   // why the connection is to be given up; Send has the node's death already
}

// A Node is what an edge node knows. It is told what happens and says what to do; its methods are called one after the other. It says
// everything with the sequence number that is due, so what it says must be published in that order, or the connection given up.
type Node struct {
	cfg     Config
	bdSeq   int // of the last CONNECT; -1: there was none
	seq     int // of the next message
	server  int
	linked  bool // connected
	born    bool
	begin   int64 // when the session began, milliseconds
	clock   int64 // what it was when something happened last
	birthAt time.Time
	again   time.Time // when births are due that somebody asked for; zero: none
	calm    time.Time // when late values become current; zero: there are none

	hosts   []hostState // per server
	devices []*device   // the first one is the node itself
	byName  map[string]*device
	byAlias map[uint64]*metric
	tracks  map[string]*track
}

type hostState struct {
	online, last int64 // times of the last word that it is online, and of the last word
	heard        bool  // something, ever
	told, up     bool  // on this connection
}

// New is an edge node whose last CONNECT had bdSeq; -1: it never made one.
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

// Check tells what is wrong with a config.
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
			errs = append(errs, fmt.Errorf("metric %q of device %q is there twice", c.Metric, c.Device))
		case c.Type != Boolean && c.Type != String && !number64(c.Type):
			errs = append(errs, fmt.Errorf("metric %q: a command is a number, a Boolean or a String", c.Metric))
		}
		seen[key] = true
	}
	return errors.Join(errs...)
}

func number64(t DataType) bool { return t >= Int8 && t <= Double }

// Topic of the node itself or one of its devices.
func (n *Node) topic(verb, device string) string {
	return Topic(n.cfg.Group, verb, n.cfg.Node, device)
}

// Subscriptions are the topics to subscribe to before anything is published, all with QoS 1.
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

// Server tells which one to connect to, counting from 0.
func (n *Node) Server() int { return n.server }

// Walk goes to the next server: the one that was meant cannot be used.
func (n *Node) Walk() { n.server = (n.server + 1) % len(n.hosts) }

// Connect begins an attempt to connect: it counts, and bdSeq is to be stored before the CONNECT goes out. The will is that of the CONNECT.
func (n *Node) Connect(now time.Time) (will Message, bdSeq int) {
	n.bdSeq = (n.bdSeq + 1) % 256
	n.linked, n.born, n.again, n.calm = false, false, time.Time{}, time.Time{}
	n.hosts[n.server].told, n.hosts[n.server].up = false, false
	return n.death(now), n.bdSeq
}

// Recall tells the bdSeq of the last CONNECT before a restart; -1: there was none.
func (n *Node) Recall(bdSeq int) { n.bdSeq = bdSeq }

// Unsaid tells that no CONNECT went out: that attempt does not count.
func (n *Node) Unsaid() { n.bdSeq = (n.bdSeq + 255) % 256 }

func (n *Node) death(now time.Time) Message {
	p := Payload{Time: now.UnixMilli(), Seq: NoSeq, Metrics: []Metric{n.bdSeqMetric(now, 0)}}
	return Message{Topic: n.topic(NDEATH, ""), QoS: 1, Payload: p.Append(nil)}
}

func (n *Node) bdSeqMetric(now time.Time, alias uint64) Metric {
	return Metric{Name: bdSeqName, Alias: alias, Time: now.UnixMilli(), Type: Int64, Value: Long(n.bdSeq)}
}

// Connected tells that the server has taken the CONNECT and all subscriptions.
func (n *Node) Connected(now time.Time) Do {
	n.linked = true
	if n.cfg.Host != "" && !n.hosts[n.server].up {
		return Do{}
	}
	return n.births(now)
}

// Lost tells that the connection is over.
func (n *Node) Lost() { n.linked, n.born = false, false }

// Leave is what to publish before the connection is given up on purpose.
func (n *Node) Leave(now time.Time) []Message {
	if !n.linked {
		return nil
	}
	n.linked, n.born = false, false
	return []Message{n.death(now)}
}

// Born says whether data can be sent: births were said, and none are due.
func (n *Node) Born() bool { return n.born && n.again.IsZero() }

// Patience is how long to wait for what is Due at most, whatever the clock says.
const Patience = time.Second

// Due is when Wake is to be called; zero: no need.
func (n *Node) Due() time.Time {
	switch {
	case !n.linked || !n.born:
		return time.Time{}
	case !n.again.IsZero():
		return n.again
	}
	return n.calm
}

// Waiting says what keeps a node that is connected from saying its births.
func (n *Node) Waiting() string {
	h := n.hosts[n.server]
	switch {
	case n.born || !n.linked || n.cfg.Host == "":
		return ""
	case !h.told:
		return fmt.Sprintf("nothing was heard of the primary host %s", n.cfg.Host)
	}
	return fmt.Sprintf("the primary host %s is offline since %s", n.cfg.Host, time.UnixMilli(h.last).UTC().Format(time.RFC3339))
}

// Host takes what is said on the topic of a host application.
func (n *Node) Host(topic string, payload []byte, now time.Time) Do {
	if n.cfg.Host == "" || topic != StateTopic(n.cfg.Host) {
		return Do{}
	}
	s, err := ParseState(payload)
	if err != nil {
		return Do{Notes: []string{err.Error()}}
	}
	h := &n.hosts[n.server]
	if s.Online {
		if h.heard && s.Time < h.last {
			return Do{Notes: []string{fmt.Sprintf("the primary host says it is online, as of %d, but said something as of %d before", s.Time, h.last)}}
		}
		h.heard, h.told, h.up, h.online, h.last = true, true, true, s.Time, s.Time
		if !n.linked || n.born {
			return Do{}
		}
		return n.births(now)
	}
	if h.heard && s.Time < h.online {
		return Do{Notes: []string{fmt.Sprintf("the primary host says it is offline, as of %d, but was online at %d", s.Time, h.online)}}
	}
	h.heard, h.told, h.up, h.last = true, true, false, max(h.last, s.Time)
	if !n.linked || !n.born && len(n.hosts) == 1 {
		return Do{} // it waits here
	}
	do := Do{Send: n.Leave(now), Leave: fmt.Sprintf("the primary host %s is offline", n.cfg.Host)}
	n.Walk()
	return do
}
