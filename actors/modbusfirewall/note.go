package modbusfirewall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// noteLeaf is the note of what has tripped.
const noteLeaf = "dead-man"

// lastWord says that all kept states have come.
type lastWord struct{}

// recalled takes what had tripped before this life, of this process or of one before. While the disk does not tell it, or if it never will, the last
// word on the bus counts, which no process survives.
func (k *keeper) recalled(c *actors.Context, m actors.Recalled) {
	k.read = !m.Again
	if m.Err == nil {
		k.written = m.Message.(*modbusv1.DeadManState)
		k.known(c, k.written)
		return
	}
	if k.lost = ""; !m.Again {
		k.lost = "which dead-man groups had tripped before this start is not known: " + m.Err.Error()
	}
	c.Log().Warn("what had tripped before is not known", "err", m.Err, "again", m.Again)
	if k.recall {
		c.Last("state/"+c.Name()+"/dead-man", lastWord{})
	}
}

// known has what had tripped before this life trip again, unless this life knows better.
func (k *keeper) known(c *actors.Context, s *modbusv1.DeadManState) {
	k.recall = false
	for _, name := range s.Tripped {
		if g := named(k.groups, name); (g == nil || g.trips == 0) && !slices.Contains(k.gone, name) {
			k.gone = append(k.gone, name)
		}
	}
	for _, g := range k.groups {
		if k.back(g) {
			k.trip(c, g, "it had tripped before the gateway or this actor was started again")
		}
	}
	c.WhenSettled()
	if len(k.groups) > 0 {
		k.tell(c)
	}
	k.note(c)
}

// back says whether a group is one of those that had gone, and takes it off them.
func (k *keeper) back(g *group) bool {
	i := slices.Index(k.gone, g.cfg.Name)
	if i >= 0 {
		k.gone = slices.Delete(k.gone, i, i+1)
	}
	return i >= 0
}

// settled forgets the groups that are gone for good.
func (k *keeper) settled(c *actors.Context, m actors.Settled) {
	cfg, _ := m.Config.(*modbusv1.Firewall)
	k.gone = slices.DeleteFunc(k.gone, func(name string) bool {
		return !slices.ContainsFunc(cfg.GetDeadMan(), func(d *modbusv1.DeadMan) bool { return d.Name == name })
	})
	k.note(c)
}

// note writes down what has tripped, unless that is what stands there, or nobody knows yet what does: groups may have tripped before that this
// life has not heard of.
func (k *keeper) note(c *actors.Context) {
	s := &modbusv1.DeadManState{Tripped: slices.Sorted(slices.Values(slices.Concat(k.tripped(), k.gone)))}
	if k.read && !proto.Equal(s, k.written) {
		k.written = s
		c.Note(noteLeaf, s)
	}
}

// noted takes whether what has tripped is on disk.
func (k *keeper) noted(c *actors.Context, err error) {
	if err != nil && !k.unnoted {
		c.Log().Warn("what has tripped could not be written down: it is tried again", "err", err)
	}
	k.unnoted = err != nil
}

// tripped is which groups have.
func (k *keeper) tripped() (names []string) {
	for _, g := range k.groups {
		if g.watch.Tripped() {
			names = append(names, g.cfg.Name)
		}
	}
	return names
}
