package sparkplug

import (
	"fmt"
	"path"
	"strings"

	"gatewayd/protocols/record"
)

// A device is a device of the node, or the node itself, whose id is empty.
type device struct {
	id       string
	metrics  []*metric
	byName   map[string]*metric
	names    map[string]string // lower case, of the metrics' names
	tracks   []*track
	writable bool
	born     bool // in this session, and not dead since
}

// absent reports whether all of its tracks are absent.
func (d *device) absent() bool {
	for _, t := range d.tracks {
		if !t.absent {
			return false
		}
	}
	return len(d.tracks) > 0 && !d.writable
}

// A metric is one metric of a device.
type metric struct {
	name  string
	alias uint64
	typ   DataType // 0: no value was seen
	unit  string
	write *Command
	owner *track // the track it is a field of; nil: none

	value   Value  // the newest; nil: unknown
	at      int64  // when it was taken, in milliseconds
	number  uint64 // sequence of the record it came from
	quality uint32
	said    uint32 // quality last published in this session
	told    int64  // time of the last value published as current in this session
	late    bool   // the newest value was published as historical only
}

// A track is the destination of a track's records.
type track struct {
	device *device
	prefix string
	fields map[string]*metric
	absent bool
}

func (n *Node) device(id string) *device {
	d := n.byName[id]
	if d == nil {
		d = &device{id: id, byName: map[string]*metric{}, names: map[string]string{}}
		n.byName[id] = d
		n.devices = append(n.devices, d)
		if id == "" { // their names are reserved
			d.names[strings.ToLower(Rebirth)], d.names[strings.ToLower(bdSeqName)] = Rebirth, bdSeqName
		}
	}
	return d
}

// bdSeqAlias is the alias of the first metric; the others follow. The metric Rebirth has none.
const bdSeqAlias = 1

// metric returns the metric of that name; if there is none, it creates one. Names that differ only
// in case get a number appended, because hosts may not distinguish them.
func (n *Node) metric(d *device, name string) *metric {
	if m := d.byName[name]; m != nil {
		return m
	}
	m := &metric{name: name, quality: Good}
	for i := 2; d.names[strings.ToLower(m.name)] != ""; i++ {
		m.name = fmt.Sprintf("%s~%d", name, i)
	}
	if !n.cfg.Plain {
		m.alias = uint64(bdSeqAlias + 1 + len(n.byAlias))
		n.byAlias[m.alias] = m
	}
	d.byName[name], d.names[strings.ToLower(m.name)] = m, m.name
	d.metrics = append(d.metrics, m)
	return m
}

// place returns the destination of a track's records.
func (n *Node) place(name string) *track {
	if t := n.tracks[name]; t != nil {
		return t
	}
	t := &track{fields: map[string]*metric{}}
	id := strings.ReplaceAll(name, "/", ".")
	for _, p := range n.cfg.Places {
		if ok, _ := path.Match(p.Track, name); ok {
			id, t.prefix = p.Device, p.Prefix
			break
		}
	}
	t.device = n.device(id)
	t.device.tracks = append(t.device.tracks, t)
	n.tracks[name] = t
	return t
}

// learn notes the metrics in records, and reports whether births must be published first.
func (n *Node) learn(batch []record.Record) (changed bool) {
	for i := range batch {
		t := n.place(batch[i].Track)
		for _, f := range batch[i].Fields {
			m := t.fields[f.Name]
			if m == nil {
				m, changed = n.claim(t, t.prefix+f.Name), true
				t.fields[f.Name] = m
			}
			if typ := widen(m.typ, typeOf(f.Value)); typ != m.typ && m.write == nil {
				m.value = rewire(m.typ, typ, m.value)
				m.typ, changed = typ, true
			}
			if f.Unit != "" && f.Unit != m.unit {
				m.unit, changed = f.Unit, true
			}
		}
	}
	return changed
}

// claim returns the metric for a field of t: the one of that name, which may also be writable,
// unless it is a field of another track.
func (n *Node) claim(t *track, name string) *metric {
	m := n.metric(t.device, name)
	for i := 2; m.owner != nil && m.owner != t; i++ {
		m = n.metric(t.device, fmt.Sprintf("%s~%d", name, i))
	}
	m.owner = t
	return m
}

// rewire converts a value to a wider type.
func rewire(from, to DataType, v Value) Value {
	typed, err := Typed(from, v)
	if err != nil {
		return nil
	}
	return wire(to, typed)
}

func (m *metric) unitProperty() []Property {
	if m.unit == "" {
		return nil
	}
	return []Property{{Key: unitKey, Type: String, Value: m.unit}}
}

func qualityProperty(q uint32) Property { return Property{Key: Quality, Type: Int32, Value: Int(q)} }

// quality returns the quality code of a field.
func quality(f *record.Field) uint32 {
	switch f.Quality {
	case "", "good":
		return Good
	case "stale":
		return Stale
	}
	return Bad
}
