package accesscontrol

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	accessv1 "gatewayd/schemas/access/v1"
)

// noteLeaf is the name of the note with the revoked identities.
const noteLeaf = "revoked"

// waiting is a request that is answered once its change is on disk.
type waiting struct {
	request *actors.Request
	answer  proto.Message
}

// keep writes the revoked identities to disk, once those stored there are known.
func (k *keeper) keep(c *actors.Context) {
	if k.read {
		c.Note(noteLeaf, &accessv1.Revocations{Identities: k.revoked})
	} else {
		k.onDisk(c, k.unread)
	}
}

// fromDisk handles the stored revocations. While the disk cannot be read, or if it never can, the
// last state on the bus counts; that does not survive the process.
func (k *keeper) fromDisk(c *actors.Context, m actors.Recalled) error {
	k.read, k.unread = !m.Again, m.Err
	if m.Err != nil {
		switch {
		case !k.recalled:
			c.Last("state/"+c.Name()+"/revoked", recalled{})
		case k.read:
			return k.settled(c)
		default:
			k.say(c)
		}
		return nil
	}
	known, before := m.Message.(*accessv1.Revocations).Identities, k.revoked
	k.revoked, k.recalled = merged(known, k.revoked, k.restored), true
	if slices.Equal(k.revoked, known) {
		k.unwritten = ""
	} else {
		k.keep(c)
	}
	if !slices.Equal(k.revoked, before) {
		c.State("revoked", &accessv1.Revocations{Identities: k.revoked})
	}
	k.say(c)
	return k.enforce(c)
}

// settled puts in force what is known, even if that is incomplete.
func (k *keeper) settled(c *actors.Context) error {
	k.recalled = true
	if k.read { // the note was damaged; write a new one
		k.keep(c)
	}
	k.say(c)
	return k.enforce(c)
}

// merged returns old and now together, without those restored.
func merged(old, now, restored []string) []string {
	all := slices.DeleteFunc(slices.Clone(old), func(name string) bool { return slices.Contains(restored, name) || slices.Contains(now, name) })
	return append(all, now...)
}

// onDisk handles the outcome of writing the last change to disk.
func (k *keeper) onDisk(c *actors.Context, err error) {
	before := k.unwritten
	if k.unwritten = ""; err != nil {
		k.unwritten = "revocations are in force but not saved, and would be lost at a restart of the gateway: " + err.Error()
		err = actors.Errorf(actors.Unavailable, "the change is in force but not saved, and would be lost at a restart of the gateway: %s", err)
	}
	for _, w := range k.waiting {
		if err != nil {
			w.request.Refuse(err)
		} else {
			w.request.Reply(w.answer)
		}
	}
	k.waiting = nil
	if k.recalled && before != k.unwritten {
		k.say(c)
	}
}
