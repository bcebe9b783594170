// Package monitor checks the messages of a Sparkplug B 3.0 edge node against the assertions of the
// specification, each named by its id (tck-id-…, here without that prefix). It is for tests: a
// Monitor is told, in order, what passes between node and server; a Tap does that for a real
// connection. It is our own interpretation of the assertions, not the TCK.
package monitor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"gatewayd/protocols/sparkplug"
)

// A Monitor records what one edge node has published. It is not safe for concurrent use.
type Monitor struct {
	Group, Node, Host string
	Aliases           bool            // the node is meant to use aliases
	Writable          map[string]bool // devices that hosts may write
	Stopping          bool            // the node was told to disconnect

	checked map[string]int
	failed  map[string][]string

	crossing bool // the order of messages in opposite directions is unknown

	session
	connects int
	bdSeq    int64 // of the last CONNECT
	left     bool  // the node left because of the host's state, from the server it was at
	server   string
	open     map[string]bool   // servers the node is connected to
	host     map[string]*heard // by server
}

type heard struct{ online, last int64 }

// A session is one connection.
type session struct {
	subscribed map[string]byte
	online     bool // as far as the node was told on this connection
	birth      bool
	dead       bool // its death was published
	seq        int
	births     bool // births are being published: no data yet
	asked      bool // a rebirth was requested and has not come
	mustLeave  bool // the primary host is offline
	// The primary host was reported offline with a time before it was online; nothing was published
	// since.
	stale   bool
	names   map[string]map[string]*metric // by device
	aliases map[uint64]*metric
	devices map[string]bool // the devices that are alive
	last    string          // verb
}

type metric struct {
	device string
	sparkplug.Metric
}

// New returns a monitor for a node that has not published anything.
func New(group, node, host string) *Monitor {
	return &Monitor{Group: group, Node: node, Host: host, Aliases: true, checked: map[string]int{}, failed: map[string][]string{},
		open: map[string]bool{}, host: map[string]*heard{}, bdSeq: -1}
}

// check notes that the assertions were exercised, and whether they hold.
func (m *Monitor) check(ok bool, what string, ids ...string) {
	for _, id := range ids {
		m.checked[id]++
		if !ok {
			m.failed[id] = append(m.failed[id], what)
		}
	}
}

// Failures returns what does not hold, at most a few failures per assertion.
func (m *Monitor) Failures() []string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(m.failed)) {
		for _, what := range m.failed[id][:min(3, len(m.failed[id]))] {
			all = append(all, id+": "+what)
		}
	}
	return all
}

// Checked returns how often each assertion was exercised.
func (m *Monitor) Checked() map[string]int { return m.checked }

// A Connect is the content of a CONNECT.
type Connect struct {
	Version        byte // 4: 3.1.1
	Clean          bool
	Will           bool
	WillTopic      string
	WillPayload    []byte
	WillQoS        byte
	WillRetain     bool
	SessionExpires uint32
}

// Connected is called for a CONNECT to a server.
func (m *Monitor) Connected(server string, c Connect) {
	m.check(len(m.open) == 0, "connected to "+server+" beside another", "operational-behavior-primary-application-state-with-multiple-servers-single-server")
	if m.left {
		m.check(server != m.server || len(m.host) < 2, "came back to "+server,
			"operational-behavior-primary-application-state-with-multiple-servers-walk", "operational-behavior-edge-node-termination-host-offline-reconnect")
	}
	m.left, m.server, m.open[server] = false, server, true
	m.session = session{subscribed: map[string]byte{}, seq: -1, names: map[string]map[string]*metric{}, aliases: map[uint64]*metric{}, devices: map[string]bool{}}
	if m.host[server] == nil {
		m.host[server] = &heard{online: -1, last: -1}
	}
	if c.Version == 4 {
		m.check(c.Clean, "clean session is false", "principles-persistence-clean-session-311")
	} else {
		m.check(c.Clean && c.SessionExpires == 0, "no clean start, or the session does not end", "principles-persistence-clean-session-50")
	}
	m.check(c.Will, "there is no will", "message-flow-edge-node-birth-publish-will-message", "payloads-ndeath-will-message")
	m.check(c.WillTopic == sparkplug.Topic(m.Group, "NDEATH", m.Node, ""), "will on "+c.WillTopic,
		"message-flow-edge-node-birth-publish-will-message-topic", "topics-ndeath-topic")
	m.check(c.WillQoS == 1, fmt.Sprint("will with QoS ", c.WillQoS), "message-flow-edge-node-birth-publish-will-message-qos", "payloads-ndeath-will-message-qos")
	m.check(!c.WillRetain, "the will is retained", "message-flow-edge-node-birth-publish-will-message-will-retained", "payloads-ndeath-will-message-retain")
	p, err := sparkplug.Parse(c.WillPayload)
	m.check(err == nil, fmt.Sprint("will: ", err), "message-flow-edge-node-birth-publish-will-message-payload")
	if err != nil {
		return
	}
	n, ok := m.death(p)
	want := (m.bdSeq + 1) % 256
	if m.connects == 0 {
		want = n
	}
	m.check(ok && n == want && n >= 0 && n <= 255, fmt.Sprintf("bdSeq %d after %d", n, m.bdSeq),
		"message-flow-edge-node-birth-publish-will-message-payload-bdSeq", "topics-nbirth-bdseq-increment")
	m.bdSeq = n
	m.connects++
}

// Resume is called when the node starts, with the bdSeq of its last CONNECT; -1: there was none.
// Without it the first may have any.
func (m *Monitor) Resume(bdSeq int) { m.connects, m.bdSeq, m.left = 1, int64(bdSeq), false }

func (m *Monitor) death(p *sparkplug.Payload) (bdSeq int64, ok bool) {
	m.check(p.Seq == sparkplug.NoSeq, "a death has a seq", "topics-ndeath-seq", "payloads-ndeath-seq")
	one := len(p.Metrics) == 1 && p.Metrics[0].Name == "bdSeq" && p.Metrics[0].Type == sparkplug.Int64
	m.check(one, fmt.Sprintf("a death has %+v", p.Metrics), "topics-ndeath-payload")
	if !one {
		return -1, false
	}
	v, ok := p.Metrics[0].Value.(sparkplug.Long)
	return int64(v), ok
}

// Subscribed is called for each topic of a SUBSCRIBE.
func (m *Monitor) Subscribed(topic string, qos byte) { m.subscribed[topic] = qos }

// Told is called for each message that the server delivers to the node.
func (m *Monitor) Told(topic string, retained bool, payload []byte) {
	if m.Host != "" && topic == sparkplug.StateTopic(m.Host) {
		m.toldState(payload)
		return
	}
	p, err := sparkplug.Parse(payload)
	if err != nil || retained || topic != sparkplug.Topic(m.Group, "NCMD", m.Node, "") {
		return
	}
	for _, w := range p.Metrics {
		if yes, _ := w.Value.(bool); yes && w.Name == sparkplug.Rebirth && m.birth {
			m.asked = true
		}
	}
}

func (m *Monitor) toldState(payload []byte) {
	s, err := sparkplug.ParseState(payload)
	if err != nil {
		return
	}
	h := m.host[m.server]
	if s.Online {
		if s.Time >= h.last {
			m.online, h.online, h.last = true, s.Time, s.Time
		}
		return
	}
	if s.Time >= h.online {
		h.last = max(h.last, s.Time)
		m.mustLeave = m.birth
		m.online = false
		return
	}
	m.stale = m.birth
}

// Published is called for each message of the node.
func (m *Monitor) Published(topic string, qos byte, retain bool, payload []byte) {
	w, ok := sparkplug.ParseTopic(topic)
	m.check(ok && strings.HasPrefix(topic, "spBv1.0/"), "topic "+topic, "topic-structure", "topic-structure-namespace-a",
		"topic-structure-namespace-device-id-associated-message-types", "topic-structure-namespace-device-id-non-associated-message-types")
	m.check(ok && m.open[m.server], "published without a connection", "message-flow-edge-node-birth-publish-connect")
	p, err := sparkplug.Parse(payload)
	if !ok || err != nil {
		m.check(false, fmt.Sprintf("%s: %v", topic, err), "message-flow-edge-node-birth-publish-nbirth-payload", "message-flow-device-birth-publish-dbirth-payload")
		return
	}
	id := func(id string) bool { return id != "" && utf8.ValidString(id) && !strings.ContainsAny(id, "+/#\x00") }
	m.check(id(w.Group) && w.Group == m.Group, "group "+w.Group, "intro-group-id-string", "intro-group-id-chars", "topic-structure-namespace-valid-group-id")
	m.check(id(w.Node) && w.Node == m.Node, "node "+w.Node, "intro-edge-node-id-string", "intro-edge-node-id-chars", "topic-structure-namespace-valid-edge-node-id")
	if w.Device != "" {
		m.check(id(w.Device), "device "+w.Device, "intro-device-id-string", "intro-device-id-chars", "topic-structure-namespace-valid-device-id")
	}
	if w.Verb == sparkplug.NDEATH {
		m.saidDeath(p)
		return
	}
	m.said(w, qos, retain, p)
}

func (m *Monitor) saidDeath(p *sparkplug.Payload) {
	n, ok := m.death(p)
	m.check(ok && n == m.bdSeq, fmt.Sprintf("death with bdSeq %d, the will has %d", n, m.bdSeq), "payloads-ndeath-bdseq")
	m.dead, m.last = true, sparkplug.NDEATH
}

// Disconnected is called when the node has ended the connection regularly.
func (m *Monitor) Disconnected(withWill bool) {
	m.check(m.dead || withWill, "it goes without a death", "operational-behavior-edge-node-intentional-disconnect-ndeath",
		"payloads-ndeath-will-message-publisher", "payloads-ndeath-will-message-publisher-disconnect-mqtt311")
	m.check(m.last == sparkplug.NDEATH || withWill, "it says something after its death", "operational-behavior-edge-node-intentional-disconnect-packet")
	if m.mustLeave && !m.Stopping {
		m.left = true
		m.check(m.dead, "it goes without a death", "message-flow-edge-node-birth-publish-phid-offline")
		m.check(true, "", "operational-behavior-edge-node-termination-host-offline")
	} else if m.stale && !m.Stopping {
		m.check(false, "it goes for what a host said long ago", "operational-behavior-edge-node-termination-host-offline-timestamp")
	}
	m.Closed()
}

// Closed is called when the connection has ended.
func (m *Monitor) Closed() { delete(m.open, m.server) }
