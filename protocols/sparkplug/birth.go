package sparkplug

import (
	"cmp"
	"slices"
	"time"
)

// births publishes the birth of the node and of every device that is not absent. The first births
// of a connection begin a session.
func (n *Node) births(now time.Time) Actions {
	if !n.born || n.setBack(now) {
		n.begin = now.UnixMilli()
	}
	n.born, n.again, n.birthAt, n.calm = true, time.Time{}, now, time.Time{}
	n.clock, n.seq = now.UnixMilli(), 0
	own := []Metric{n.bdSeqMetric(now, n.alias(bdSeqAlias)), {Name: Rebirth, Time: now.UnixMilli(), Type: Boolean, Value: false}}
	do := Actions{Send: []Message{n.say(NBIRTH, n.devices[0], n.known(n.devices[0], own, now), now)}}
	n.devices[0].born = true
	for _, d := range n.devices[1:] {
		d.born = false
		if !d.absent() {
			do.Send = append(do.Send, n.birth(d, now))
		}
	}
	return do
}

func (n *Node) birth(d *device, now time.Time) Message {
	d.born = true
	return n.say(DBIRTH, d, n.known(d, nil, now), now)
}

func (n *Node) alias(a uint64) uint64 {
	if n.cfg.Plain {
		return 0
	}
	return a
}

// known appends all metrics of d with their last published values, sorted by time. Times in the
// future, from before the clock was set back, are replaced by the present.
func (n *Node) known(d *device, all []Metric, now time.Time) []Metric {
	for _, m := range d.metrics {
		if m.at = min(m.at, now.UnixMilli()); m.at == 0 {
			m.at = n.begin
		}
		m.told, m.said, m.late = m.at, m.quality, false
		w := Metric{Name: m.name, Alias: m.alias, Time: m.at, Type: cmp.Or(m.typ, String), Null: m.value == nil, Value: m.value,
			Properties: append(m.unitProperty(), qualityProperty(m.quality))}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(a, b Metric) int { return cmp.Compare(a.Time, b.Time) })
	return all
}

// say returns a message with the next sequence number.
func (n *Node) say(verb string, d *device, metrics []Metric, now time.Time) Message {
	p := Payload{Time: now.UnixMilli(), Metrics: metrics, Seq: n.seq}
	n.seq = (n.seq + 1) % 256
	return Message{Topic: n.topic(verb, d.id), Payload: p.Append(nil)}
}

// rebirth publishes all births again, or later if that has just been done. Until then no data is
// sent.
func (n *Node) rebirth(now time.Time) Actions {
	since := now.Sub(n.birthAt)
	if since >= 0 && since < gap {
		if n.again.IsZero() {
			n.again = n.birthAt.Add(gap)
		}
		return Actions{}
	}
	return n.births(now)
}
