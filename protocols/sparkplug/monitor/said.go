package monitor

import (
	"fmt"
	"strings"

	"gatewayd/protocols/sparkplug"
)

// said checks a message with a sequence number.
func (m *Monitor) said(w sparkplug.ParsedTopic, qos byte, retain bool, p *sparkplug.Payload) {
	l := strings.ToLower(w.Verb)
	m.last = w.Verb
	m.check(!m.dead, w.Verb+" after its death", "operational-behavior-edge-node-intentional-disconnect-ndeath")
	at := func(device bool) string { // the ids for this message contain the name of its verb
		if device {
			return "message-flow-device-birth-publish-dbirth"
		}
		return "message-flow-edge-node-birth-publish-nbirth"
	}
	birth, device := strings.HasSuffix(w.Verb, "BIRTH"), w.Device != ""
	topics := []string{"topics-" + l + "-topic"}
	seqs := []string{"payloads-" + l + "-seq", "payloads-sequence-num-always-included"}
	if w.Verb == sparkplug.DDEATH {
		m.check(qos == 0 && !retain, fmt.Sprint(w.Verb, " with QoS ", qos, " ", retain), "topics-ddeath-mqtt")
		seqs = append(seqs, "payloads-ddeath-seq-number")
	} else {
		m.check(qos == 0, fmt.Sprint(w.Verb, " with QoS ", qos), "topics-"+l+"-mqtt", "payloads-"+l+"-qos")
		m.check(!retain, w.Verb+" retained", "topics-"+l+"-mqtt", "payloads-"+l+"-retain")
	}
	if birth {
		topics = append(topics, at(device)+"-topic")
		m.check(qos == 0, w.Verb+" with QoS", at(device)+"-qos")
		m.check(!retain, w.Verb+" retained", at(device)+"-retained")
		m.check(true, "", at(device)+"-payload")
		m.check(p.Seq >= 0 && p.Seq <= 255, fmt.Sprint("seq ", p.Seq), at(device)+"-payload-seq")
	}
	m.check(w.Group == m.Group && w.Node == m.Node, w.Group+"/"+w.Node, topics...)
	m.check(p.Seq >= 0 && p.Seq <= 255, fmt.Sprint(w.Verb, " with seq ", p.Seq), seqs...)
	times := []string{"payloads-" + l + "-timestamp", "payloads-timestamp-in-UTC"}
	if w.Verb != sparkplug.DDEATH {
		times = append(times, "topics-"+l+"-timestamp")
	}
	m.check(p.Time > 0, w.Verb+" without timestamp", times...)
	if m.stale {
		m.stale = false
		m.check(true, "", "operational-behavior-edge-node-termination-host-offline-timestamp")
	}
	if w.Verb == sparkplug.NBIRTH {
		m.nodeBirth(p)
		return
	}
	m.next(w, p, l)
	switch w.Verb {
	case sparkplug.DBIRTH:
		m.deviceBirth(w, p)
	case sparkplug.DDEATH:
		m.check(m.devices[w.Device], "death of "+w.Device+", which does not live", "operational-behavior-device-ddeath")
		delete(m.devices, w.Device)
	default:
		m.data(w, p)
	}
}

// next checks the sequence number of every message after a birth.
func (m *Monitor) next(w sparkplug.ParsedTopic, p *sparkplug.Payload, l string) {
	ids := map[string][]string{
		"ndata": {"topics-ndata-seq-num", "payloads-ndata-seq-inc"}, "ddata": {"topics-ddata-seq-num", "payloads-ddata-seq-inc"},
		"dbirth": {"topics-dbirth-seq", "payloads-dbirth-seq-inc", "message-flow-device-birth-publish-dbirth-payload-seq"},
		"ddeath": {"topics-ddeath-seq-num", "payloads-ddeath-seq-inc"},
	}[l]
	m.check(p.Seq == (m.seq+1)%256, fmt.Sprintf("%s with seq %d after %d", w.Verb, p.Seq, m.seq), append(ids, "payloads-sequence-num-incrementing")...)
	m.seq = p.Seq
	if w.Verb == sparkplug.DBIRTH {
		m.check(m.birth, "DBIRTH before NBIRTH", "message-flow-device-birth-publish-nbirth-wait", "message-flow-device-birth-publish-dbirth-match-edge-node-topic")
	} else {
		m.check(m.birth, w.Verb+" before NBIRTH", "principles-birth-certificates-order")
		m.births = false
	}
}

func (m *Monitor) nodeBirth(p *sparkplug.Payload) {
	m.check(p.Seq == 0, fmt.Sprint("NBIRTH with seq ", p.Seq), "topics-nbirth-seq-num", "payloads-sequence-num-req-nbirth", "payloads-nbirth-seq")
	qos, ok := m.subscribed[sparkplug.Topic(m.Group, "NCMD", m.Node, "")]
	m.check(ok && qos == 1, "NBIRTH without a subscription to NCMD with QoS 1", "message-flow-edge-node-ncmd-subscribe")
	if m.Host != "" {
		_, ok := m.subscribed[sparkplug.StateTopic(m.Host)]
		m.check(ok, "no subscription to STATE", "operational-behavior-primary-application-state-with-multiple-servers-state-subs", "message-flow-edge-node-birth-publish-phid-wait-id")
		m.check(m.online, "NBIRTH without the primary host online", "message-flow-edge-node-birth-publish-phid-wait", "message-flow-edge-node-birth-publish-phid-wait-online",
			"message-flow-edge-node-birth-publish-phid-wait-timestamp", "operational-behavior-edge-node-birth-sequence-wait")
	}
	if !m.birth {
		m.check(true, "", "principles-birth-certificates-order", "payloads-nbirth-edge-node-descriptor", "topic-structure-namespace-unique-edge-node-descriptor", "intro-edge-node-id-uniqueness")
	}
	again := m.asked
	m.birth, m.births, m.asked, m.seq = true, true, false, 0
	m.names, m.aliases, m.devices = map[string]map[string]*metric{}, map[uint64]*metric{}, map[string]bool{}
	m.born("", p, "nbirth")
	b := m.names[""]["bdSeq"]
	m.check(b != nil, "NBIRTH without bdSeq", "topics-nbirth-bdseq-included", "payloads-nbirth-bdseq")
	same := b != nil && b.Type == sparkplug.Int64 && b.Value == sparkplug.Long(m.bdSeq)
	ids := []string{"topics-nbirth-bdseq-matching", "payloads-nbirth-bdseq-repeat", "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq", "payloads-ndeath-bdseq"}
	if again {
		ids = append(ids, "operational-behavior-data-commands-rebirth-action-2", "operational-behavior-data-commands-rebirth-action-3",
			"operational-behavior-data-commands-ncmd-rebirth-verb", "operational-behavior-data-commands-ncmd-rebirth-name", "operational-behavior-data-commands-ncmd-rebirth-value")
	}
	m.check(same, fmt.Sprintf("bdSeq %+v, the will has %d", b, m.bdSeq), ids...)
	r := m.names[""][sparkplug.Rebirth]
	m.check(r != nil, "NBIRTH without "+sparkplug.Rebirth, "operational-behavior-data-commands-rebirth-name")
	if r == nil {
		return
	}
	m.check(r.Type == sparkplug.Boolean && r.Value == false, fmt.Sprintf("%+v", r.Metric), "topics-nbirth-rebirth-metric", "payloads-nbirth-rebirth-req",
		"operational-behavior-data-commands-rebirth-datatype", "operational-behavior-data-commands-rebirth-value")
	m.check(r.Alias == 0, fmt.Sprint("alias ", r.Alias), "operational-behavior-data-commands-rebirth-name-aliases")
}

func (m *Monitor) deviceBirth(w sparkplug.ParsedTopic, p *sparkplug.Payload) {
	// For the first births; data checks whether one came too early.
	m.check(m.births || m.last == sparkplug.DBIRTH, "", "payloads-dbirth-order")
	if m.Writable[w.Device] {
		qos, ok := m.subscribed[sparkplug.Topic(m.Group, "DCMD", m.Node, w.Device)]
		m.check(ok && qos == 1, "DBIRTH of "+w.Device+" without a subscription to DCMD", "message-flow-device-dcmd-subscribe")
	}
	m.check(!m.devices[w.Device] || !m.births, w.Device+" is born twice", "topic-structure-namespace-unique-device-id", "topic-structure-namespace-duplicate-device-id-across-edge-node")
	for id := range m.devices {
		m.check(id == w.Device || !strings.EqualFold(id, w.Device), id+" and "+w.Device, "case-sensitivity-sparkplug-ids")
	}
	m.devices[w.Device] = true
	for a, x := range m.aliases {
		if x.device == w.Device {
			delete(m.aliases, a)
		}
	}
	m.born(w.Device, p, "dbirth")
}

// born checks the metrics of a birth.
func (m *Monitor) born(device string, p *sparkplug.Payload, l string) {
	all, lower := map[string]*metric{}, map[string]string{}
	last := int64(0)
	for i := range p.Metrics {
		x := &metric{device, p.Metrics[i]}
		what := fmt.Sprintf("%s of %q: %+v", l, device, x.Metric)
		m.check(x.Name != "" && x.Type != 0 && (x.Null || x.Value != nil), what, "topics-"+l+"-metrics", "payloads-name-requirement")
		m.check(x.Null == (x.Value == nil), what, "operational-behavior-data-publish-"+l+"-values")
		m.check(x.Type != 0, what, "payloads-metric-datatype-req")
		m.check(x.Type.Valid(), what, "payloads-metric-datatype-value", "payloads-metric-datatype-value-type")
		m.check(x.Time > 0, what, "payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
		if !x.Null {
			_, err := sparkplug.Typed(x.Type, x.Value)
			m.check(err == nil, what, "payloads-metric-datatype-value-type")
		}
		if m.Aliases && x.Name != sparkplug.Rebirth {
			m.check(x.Alias != 0, what, "payloads-alias-birth-requirement")
			other := m.aliases[x.Alias]
			m.check(other == nil, fmt.Sprintf("%s has the alias of %+v", what, other), "payloads-alias-uniqueness")
			m.aliases[x.Alias] = x
		}
		other, twice := lower[strings.ToLower(x.Name)]
		m.check(!twice, x.Name+" and "+other, "case-sensitivity-metric-names")
		lower[strings.ToLower(x.Name)] = x.Name
		if !x.Historical {
			m.check(x.Time >= last, what+" is older than the one before", "operational-behavior-data-publish-"+l+"-order")
			last = x.Time
		}
		m.properties(x.Properties, what)
		all[x.Name] = x
	}
	m.names[device] = all
}

func (m *Monitor) properties(all []sparkplug.Property, what string) {
	if len(all) == 0 {
		return
	}
	// Otherwise it would not parse.
	m.check(true, "", "payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size")
	for _, p := range all {
		m.check(p.Type.Valid(), what, "payloads-metric-propertyvalue-type-type", "payloads-metric-propertyvalue-type-value", "payloads-metric-propertyvalue-type-req")
		if p.Key == sparkplug.Quality {
			m.check(p.Type == sparkplug.Int32, what, "payloads-propertyset-quality-value-type")
			v, ok := p.Value.(sparkplug.Int)
			m.check(ok && (v == 0 || v == 192 || v == 500), what, "payloads-propertyset-quality-value-value")
		}
	}
}

// data checks the metrics of NDATA and DDATA.
func (m *Monitor) data(w sparkplug.ParsedTopic, p *sparkplug.Payload) {
	l := strings.ToLower(w.Verb)
	b := strings.Replace(l, "data", "birth", 1)
	m.check(!m.asked || m.crossing, w.Verb+" after a rebirth was asked for", "operational-behavior-data-commands-rebirth-action-1")
	m.check(!m.mustLeave || m.crossing, w.Verb+" after the primary host went offline", "operational-behavior-edge-node-termination-host-offline", "message-flow-edge-node-birth-publish-phid-offline")
	m.check(m.birth && (w.Device == "" || m.devices[w.Device]), w.Verb+" of "+w.Device+" before its birth", "payloads-"+l+"-order", "principles-birth-certificates-order")
	m.check(len(p.Metrics) > 0, w.Verb+" without metrics", "topics-"+l+"-payload")
	last := int64(0)
	for _, x := range p.Metrics {
		what := fmt.Sprintf("%s of %q: %+v", l, w.Device, x)
		def := m.names[w.Device][x.Name]
		if m.Aliases {
			m.check(x.Name == "" && x.Alias != 0, what, "payloads-alias-data-cmd-requirement", "payloads-name-requirement")
			def = m.aliases[x.Alias]
		} else {
			m.check(x.Name != "" && x.Alias == 0, what, "payloads-name-requirement")
		}
		known := def != nil && def.device == w.Device
		m.check(known, what+" is in no birth", "operational-behavior-data-publish-"+b, "topics-"+b+"-metric-reqs")
		m.check(x.Time > 0, what, "payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
		m.check(x.Type == 0, what, "payloads-metric-datatype-not-req")
		m.properties(x.Properties, what)
		if !known {
			continue
		}
		if x.Value != nil {
			_, err := sparkplug.Typed(def.Type, x.Value)
			m.check(err == nil, fmt.Sprintf("%s: %v", what, err), "payloads-metric-datatype-value-type")
		}
		if !x.Historical {
			m.check(x.Time >= last, what+" is older than the one before", "operational-behavior-data-publish-"+b+"-order")
			last = x.Time
			m.check(x.Time >= def.Time, fmt.Sprintf("%s is older than %d, which was told before", what, def.Time), "operational-behavior-data-publish-"+b+"-order")
			changed := x.Time != def.Time || x.Value != nil || x.Null != def.Null || len(x.Properties) > 0
			m.check(changed, what+" says nothing new", "operational-behavior-data-publish-"+b+"-change", "principles-rbe-recommended")
			def.Time, def.Value, def.Null = x.Time, x.Value, x.Null
		}
	}
}
