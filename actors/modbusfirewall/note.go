package modbusfirewall

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const (
	noteLeaf = "dead-man"
	noteTime = 5 * time.Second
)

type (
	remember struct{}
	recalled struct { // what had tripped before this life
		state *modbusv1.DeadManState
		found bool
		err   error
	}
	note  struct{}
	noted struct { // it is on disk
		state *modbusv1.DeadManState
		err   error
	}
	lastWord struct{} // all kept states have come
)

// remember reads what had tripped before this life, of this process or of one before.
func (k *keeper) remember(c *actors.Context) {
	book := c.Notebook()
	c.Do(noteTime, func(ctx context.Context) (any, error) {
		m := recalled{state: &modbusv1.DeadManState{}}
		m.found, m.err = book.Read(ctx, noteLeaf, m.state)
		return m, nil
	})
}

// recalled takes what had tripped. While the disk does not tell it the last word on the bus counts, which no process survives.
func (k *keeper) recalled(c *actors.Context, m recalled) {
	switch {
	case m.err == nil || m.found: // what stands there and cannot be understood tells no more the next time
		if m.err != nil {
			c.Log().Warn("not all that had tripped before is known", "err", m.err)
		}
		k.noted = m.state
		k.known(c, m.state)
		return
	case k.recall:
		c.Log().Warn("what had tripped before is not known: it is looked up again", "err", m.err)
		c.Last("state/"+c.Name()+"/dead-man", lastWord{})
	}
	c.After(tryAgain, remember{})
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
	s := k.tripped()
	if k.noting || k.noted == nil || proto.Equal(s, k.noted) {
		return
	}
	k.noting = true
	book := c.Notebook()
	c.Do(noteTime, func(ctx context.Context) (any, error) { return noted{s, book.Write(ctx, noteLeaf, s)}, nil })
}

func (k *keeper) written(c *actors.Context, m noted) {
	k.noting = false
	if m.err == nil {
		k.noted, k.unnoted = m.state, false
		k.note(c)
		return
	}
	if !k.unnoted {
		c.Log().Warn("what has tripped could not be written down: it is tried again", "err", m.err)
	}
	k.unnoted = true
	if k.again != nil { // one attempt is due, however many have failed
		k.again.Stop()
	}
	k.again = c.After(tryAgain, note{})
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
