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
	for _, g := range k.groups {
		if slices.Contains(s.Tripped, g.cfg.Name) && g.trips == 0 {
			k.trip(c, g, "it had tripped before the gateway or this actor was started again")
		}
	}
	if len(k.groups) > 0 {
		k.tell(c)
	}
	k.note(c)
}

// note writes down what has tripped, unless that is what stands there, or nobody knows yet what does: groups may have tripped before that this
// life has not heard of.
func (k *keeper) note(c *actors.Context) {
	if s := k.tripped(); k.read && !proto.Equal(s, k.written) {
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
func (k *keeper) tripped() *modbusv1.DeadManState {
	s := &modbusv1.DeadManState{}
	for _, g := range k.groups {
		if g.watch.Tripped() {
			s.Tripped = append(s.Tripped, g.cfg.Name)
		}
	}
	return s
}
