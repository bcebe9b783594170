package modbusfirewall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// noteLeaf is the name of the note of the tripped groups.
const noteLeaf = "dead-man"

// lastWord is the tag that reports that all stored states have arrived.
type lastWord struct{}

// recalled handles the note of the groups that had tripped before this life, in this process or an
// earlier one. If the note cannot be read, for now or forever, the stored state on the bus is used
// instead, which does not survive the process.
func (k *keeper) recalled(c *actors.Context, m actors.Recalled) {
	k.read = !m.Again
	if m.Err == nil {
		k.written = m.Message.(*modbusv1.DeadManState)
		k.known(c, k.written)
		return
	}
	if k.lost = ""; !m.Again {
		k.lost = "the dead-man groups that tripped before this start are unknown: " + m.Err.Error()
	}
	c.Log().Warn("the dead-man groups that tripped before are unknown", "err", m.Err, "again", m.Again)
	if k.recall {
		c.Last("state/"+c.Name()+"/dead-man", lastWord{})
	}
}

// known trips the groups that had tripped before this life again, except those that have already
// tripped in this life: they may have been released since.
func (k *keeper) known(c *actors.Context, s *modbusv1.DeadManState) {
	k.recall = false
	for _, name := range s.Tripped {
		if g := named(k.groups, name); (g == nil || g.trips == 0) && !slices.Contains(k.gone, name) {
			k.gone = append(k.gone, name)
		}
	}
	for _, g := range k.groups {
		if k.back(g) {
			k.trip(c, g, "it had tripped before the gateway or this actor was restarted")
		}
	}
	c.WhenSettled()
	if len(k.groups) > 0 {
		k.tell(c)
	}
	k.note(c)
}

// back reports whether a group is one of those in gone, and removes it from there.
func (k *keeper) back(g *group) bool {
	i := slices.Index(k.gone, g.cfg.Name)
	if i >= 0 {
		k.gone = slices.Delete(k.gone, i, i+1)
	}
	return i >= 0
}

// settled forgets the groups that the settled config does not have.
func (k *keeper) settled(c *actors.Context, m actors.Settled) {
	cfg, _ := m.Config.(*modbusv1.Firewall)
	k.gone = slices.DeleteFunc(k.gone, func(name string) bool {
		return !slices.ContainsFunc(cfg.GetDeadMan(), func(d *modbusv1.DeadMan) bool { return d.Name == name })
	})
	k.note(c)
}

// note writes down which groups have tripped, if that has changed. It does not while the note on
// disk has not been read: it may name groups that this life does not know of.
func (k *keeper) note(c *actors.Context) {
	s := &modbusv1.DeadManState{Tripped: slices.Sorted(slices.Values(slices.Concat(k.tripped(), k.gone)))}
	if k.read && !proto.Equal(s, k.written) {
		k.written = s
		c.Note(noteLeaf, s)
	}
}

// noted handles the outcome of writing the note.
func (k *keeper) noted(c *actors.Context, err error) {
	if err != nil && !k.unnoted {
		c.Log().Warn("cannot save which dead-man groups have tripped; trying again", "err", err)
	}
	k.unnoted = err != nil
}

// tripped returns the names of the groups that have tripped.
func (k *keeper) tripped() (names []string) {
	for _, g := range k.groups {
		if g.watch.Tripped() {
			names = append(names, g.cfg.Name)
		}
	}
	return names
}
