package sparkplug

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/record"
)

// ErrNotBorn is returned while no data can be sent: see Waiting and Due.
var ErrNotBorn = errors.New("births are not stored")

// Records publishes records, which are in order for each track. If it returns an error, none of
// them are published.
func (n *Node) Records(batch []record.Record, now time.Time) (Actions, error) {
	if !n.Born() {
		return Actions{}, ErrNotBorn
	}
	var do Actions
	if n.learn(batch) || n.setBack(now) { // births that the node itself needs are never postponed
		do = n.births(now)
	}
	n.clock = now.UnixMilli()
	b := bundle{node: n, now: now, do: &do, open: map[*device]*load{}}
	for i := range batch {
		r := &batch[i]
		t := n.tracks[r.Track]
		t.absent = r.Absent
		if r.Absent {
			b.absent(t, r)
			continue
		}
		if !t.device.born && len(r.Fields) > 0 {
			do.Send = append(do.Send, n.birth(t.device, now))
		}
		for j := range r.Fields {
			b.field(t, r, &r.Fields[j])
		}
	}
	b.flush()
	if len(batch) > 0 && batch[len(batch)-1].Time.UnixMilli() >= n.begin {
		n.settle(now, &do)
	}
	n.calm = now.Add(quiet)
	return do, nil
}

// Forget forgets the values of a batch that may not have been received, as it will be sent again.
// The births of the next connection then contain only delivered values; otherwise a value that
// makes a broker close the connection would close every one.
func (n *Node) Forget(batch []record.Record) {
	for i := range batch {
		t := n.tracks[batch[i].Track]
		if t == nil {
			continue
		}
		for _, f := range batch[i].Fields {
			if m := t.fields[f.Name]; m != nil && m.number == batch[i].Sequence {
				m.value, m.number = nil, m.number-1
			}
		}
	}
}

// setBack reports whether the clock was set back since the last message: what was sent as current
// is in the future then.
func (n *Node) setBack(now time.Time) bool { return now.UnixMilli() < n.clock-ahead.Milliseconds() }

// Wake must be called when it is Due, or later.
func (n *Node) Wake(now time.Time) Actions {
	var do Actions
	switch {
	case n.Due().IsZero():
	case !n.again.IsZero():
		if wait := n.again.Sub(now); wait <= 0 || wait > gap {
			do = n.births(now)
		}
	default:
		wait := n.calm.Sub(now)
		if wait > 0 && wait <= quiet {
			return do
		}
		n.calm = time.Time{}
		if n.setBack(now) {
			return n.births(now)
		}
		n.clock = now.UnixMilli()
		n.settle(now, &do)
	}
	return do
}

// settle makes values current that were sent only as historical, and publishes which devices are
// gone: the backlog has ended.
func (n *Node) settle(now time.Time, do *Actions) {
	b := bundle{node: n, now: now, do: do, open: map[*device]*load{}}
	for _, d := range n.devices {
		if d.id != "" && d.absent() {
			if d.born {
				b.die(d)
			}
			continue
		}
		for _, m := range d.metrics {
			if m.late && d.born {
				m.late, m.told = false, max(m.told, min(m.at, now.UnixMilli()))
				b.add(d, Metric{Time: m.told, Null: m.value == nil, Value: m.value, Properties: m.change()}, m)
			}
		}
	}
	b.flush()
}

// A bundle collects the values for the messages of one moment.
type bundle struct {
	node *Node
	now  time.Time
	do   *Actions
	open map[*device]*load
	all  []*device // of open, in the order of their first value
}

// A load is the content of the next message of a device.
type load struct {
	metrics []Metric
	bytes   int
}

// field adds one value.
func (b *bundle) field(t *track, r *record.Record, f *record.Field) {
	m, ms, q := t.fields[f.Name], r.Time.UnixMilli(), quality(f)
	w := Metric{Time: ms, Value: wire(cmp.Or(m.typ, String), f.Value)}
	w.Null = w.Value == nil
	w.Historical = ms < b.node.begin || ms < m.told || ms > b.now.Add(ahead).UnixMilli() || r.Sequence < m.number
	if r.Sequence >= m.number { // otherwise it is older than the known value
		m.value, m.at, m.quality, m.number, m.late = w.Value, ms, q, r.Sequence, w.Historical
	}
	if !w.Historical {
		m.told = ms
		w.Properties = m.change()
	} else if q != Good || m.said != Good {
		w.Properties = []Property{qualityProperty(q)}
	}
	b.add(t.device, w, m)
}

// change returns the quality of m if it differs from what hosts know.
func (m *metric) change() []Property {
	if m.said == m.quality {
		return nil
	}
	m.said = m.quality
	return []Property{qualityProperty(m.quality)}
}

// absent handles a record of absence. A device dies with the last of its tracks; until then only
// the quality of the track's metrics changes. An absence from before the session is published by
// settle, if it still lasts.
func (b *bundle) absent(t *track, r *record.Record) {
	ms := r.Time.UnixMilli()
	switch late := ms < b.node.begin; {
	case t.device.id != "" && t.device.absent():
		if !late && t.device.born {
			b.die(t.device)
		}
	default:
		for _, m := range t.fields {
			if m.value == nil || m.quality == Stale {
				continue
			}
			m.quality, m.at, m.late = Stale, ms, true // published by settle
		}
	}
}

func (b *bundle) die(d *device) {
	b.close(d)
	d.born = false
	b.do.Send = append(b.do.Send, b.node.say(DDEATH, d, nil, b.now))
}

// add puts w, a value of m, into the next message of d.
func (b *bundle) add(d *device, w Metric, m *metric) {
	if w.Alias = m.alias; w.Alias == 0 {
		w.Name = m.name
	}
	l := b.open[d]
	if l == nil {
		l = &load{}
		b.open[d] = l
		b.all = append(b.all, d)
	}
	size := len(w.append(nil)) + 5
	if l.bytes+size > most && len(l.metrics) > 0 {
		b.close(d)
	}
	l.metrics = append(l.metrics, w)
	l.bytes += size
}

// close sends the open values of d. Historical values come first and in their order; current ones
// follow in the order of time.
func (b *bundle) close(d *device) {
	l := b.open[d]
	if l == nil || len(l.metrics) == 0 {
		return
	}
	slices.SortStableFunc(l.metrics, func(x, y Metric) int {
		if x.Historical || y.Historical {
			return boolRank(x.Historical) - boolRank(y.Historical)
		}
		return cmp.Compare(x.Time, y.Time)
	})
	verb := DDATA
	if d.id == "" {
		verb = NDATA
	}
	b.do.Send = append(b.do.Send, b.node.say(verb, d, l.metrics, b.now))
	l.metrics, l.bytes = nil, 0
}

func boolRank(first bool) int {
	if first {
		return 0
	}
	return 1
}

func (b *bundle) flush() {
	for _, d := range b.all {
		b.close(d)
	}
}
