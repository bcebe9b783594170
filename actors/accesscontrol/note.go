package accesscontrol

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	accessv1 "gatewayd/schemas/access/v1"
)

const (
	noteLeaf  = "revoked"
	noteTime  = 5 * time.Second
	noteAgain = 5 * time.Second
)

type (
	keep struct{} // is due again
	kept struct { // who is revoked, as it stands on disk
		state *accessv1.Revocations
		err   error
	}
	waiting struct { // for it to stand there
		request *actors.Request
		answer  proto.Message
	}
)

// keep brings what is revoked to the disk, and from there what lives before this one have revoked, of this process and of earlier ones.
func (k *keeper) keep(c *actors.Context) {
	if k.keeping {
		return
	}
	k.keeping = true
	book, known, revoked, restored := c.Notebook(), k.noted != nil, slices.Clone(k.revoked), slices.Clone(k.restored)
	c.Do(noteTime, func(ctx context.Context) (any, error) {
		old, now := &accessv1.Revocations{}, &accessv1.Revocations{Identities: revoked}
		if !known {
			if _, err := book.Read(ctx, noteLeaf, old); err != nil {
				return kept{err: err}, nil
			}
			if now.Identities = merged(old.Identities, revoked, restored); proto.Equal(old, now) {
				return kept{state: now}, nil
			}
		}
		return kept{now, book.Write(ctx, noteLeaf, now)}, nil
	})
}

// merged is old and now together, without those restored.
func merged(old, now, restored []string) []string {
	all := slices.DeleteFunc(slices.Clone(old), func(name string) bool { return slices.Contains(restored, name) || slices.Contains(now, name) })
	return append(all, now...)
}

// kept takes what stands on disk. While the disk does not tell it the last word on the bus counts, which no process survives.
func (k *keeper) kept(c *actors.Context, m kept) error {
	k.keeping = false
	if m.err != nil {
		return k.unkept(c, m.err)
	}
	k.noted = m.state.Identities
	if k.noted == nil {
		k.noted = []string{}
	}
	before := k.revoked
	if !k.recalled || k.lost != "" {
		k.revoked = merged(k.noted, k.revoked, k.restored)
	}
	if !slices.Equal(k.revoked, k.noted) {
		k.keep(c)
	} else {
		k.answer(nil)
	}
	if k.recalled && k.lost == "" {
		return nil
	}
	k.recalled, k.lost = true, ""
	if !slices.Equal(before, k.revoked) {
		c.State("revoked", &accessv1.Revocations{Identities: k.revoked})
	}
	k.say(c)
	return k.enforce(c)
}

func (k *keeper) unkept(c *actors.Context, err error) error {
	code, why := actors.Explain(err)
	if code == actors.FailedPrecondition || code == actors.Unimplemented { // this bus keeps no notes
		k.answer(nil)
	} else {
		k.answer(actors.Errorf(code, "it is in force, but not on disk, and would be forgotten by a restart of the gateway: %s", why))
		if k.again != nil { // one attempt is due, however many have failed
			k.again.Stop()
		}
		k.again = c.After(noteAgain, keep{})
		if k.noted == nil {
			k.lost = fmt.Sprintf("who was revoked before this start is not known: %s", why)
		}
	}
	if k.recalled {
		return nil
	}
	c.Last("state/"+c.Name()+"/revoked", recalled{})
	return nil
}

// answer tells all who wait.
func (k *keeper) answer(err error) {
	for _, w := range k.waiting {
		if err != nil {
			w.request.Refuse(err)
		} else {
			w.request.Reply(w.answer)
		}
	}
	k.waiting = nil
}
