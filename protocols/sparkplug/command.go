package sparkplug

import (
	"fmt"
	"time"
)

// Command handles a non-retained message on a command topic.
func (n *Node) Command(topic string, payload []byte, now time.Time) Actions {
	w, ok := ParseTopic(topic)
	if !ok || w.Group != n.cfg.Group || w.Node != n.cfg.Node || w.Verb != NCMD && w.Verb != DCMD {
		return Actions{}
	}
	p, err := Parse(payload)
	if err != nil {
		return Actions{Notes: []string{fmt.Sprintf("%s: %v", topic, err)}}
	}
	d := n.byName[w.Device]
	if d == nil {
		return Actions{Notes: []string{fmt.Sprintf("%s: there is no device %s", topic, w.Device)}}
	}
	var do Actions
	ask := false
	for i := range p.Metrics {
		m := &p.Metrics[i]
		if d.id == "" && m.Name == Rebirth {
			yes, _ := m.Value.(bool)
			ask = ask || yes
			continue
		}
		if err := n.command(d, m, &do); err != nil {
			do.Notes = append(do.Notes, fmt.Sprintf("%s: %v", topic, err))
		}
	}
	if ask && n.born {
		do.Send = n.rebirth(now).Send
	}
	return do
}

func (n *Node) command(d *device, w *Metric, do *Actions) error {
	m := n.byAlias[w.Alias]
	if w.Name != "" {
		m = nil
		for _, x := range d.metrics {
			if x.name == w.Name {
				m = x
			}
		}
	}
	switch {
	case m == nil || m.write == nil || m.write.Device != d.id:
		return fmt.Errorf("metric %q (alias %d) cannot be written", w.Name, w.Alias)
	case w.Null || w.Value == nil:
		return fmt.Errorf("metric %q: a value is needed", m.name)
	}
	v, err := Typed(m.typ, w.Value)
	if err != nil {
		return fmt.Errorf("metric %q: %w", m.name, err)
	}
	do.Writes = append(do.Writes, Write{Command: *m.write, Value: v})
	return nil
}

// Done handles the outcome of a write, "ok" or the reason for the failure. The written value
// becomes the metric's value, unless a track provides that.
func (n *Node) Done(w Write, outcome string, now time.Time) Actions {
	d := n.byName[w.Command.Device]
	if d == nil {
		return Actions{}
	}
	m, how := d.byName[w.Command.Metric], d.byName[w.Command.Metric+Outcome]
	if m == nil || how == nil {
		return Actions{}
	}
	var do Actions
	b := bundle{node: n, now: now, do: &do, open: map[*device]*load{}}
	ms := now.UnixMilli()
	if outcome == "ok" && m.owner == nil {
		m.value = wire(m.typ, w.Value)
		b.tell(d, m, ms)
	}
	how.value = outcome
	b.tell(d, how, ms)
	if !n.Born() || !d.born { // the births will contain it
		return Actions{}
	}
	b.flush()
	return do
}

// tell adds m's value as current.
func (b *bundle) tell(d *device, m *metric, ms int64) {
	m.at, m.told = ms, max(ms, m.told)
	b.add(d, Metric{Time: m.told, Value: m.value}, m)
}
