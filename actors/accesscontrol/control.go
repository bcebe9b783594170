// Package accesscontrol is the actor type that keeps who may use what of the gateway, and tells the doors. What the
// policy means is package protocols/access's business.
package accesscontrol

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	"gatewayd/protocols/access/ocsp"
	accessv1 "gatewayd/schemas/access/v1"
)

// Kind is kind "access-control".
var Kind = actors.Define(actors.Kind{
	Name:     "access-control",
	Doc:      "Keeps who may use what of the gateway, and cuts off whom an operator revokes.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(accessv1.File_access_v1_access_proto, "AccessService")},
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "revoked", Message: &accessv1.Revoked{}},
		{Class: "event", Leaf: "restored", Message: &accessv1.Restored{}},
		{Class: "event", Leaf: "lists", Message: &accessv1.ListTrouble{}},
		{Class: "state", Leaf: "revoked", Message: &accessv1.Revocations{}},
	},
	Live:  true,
	Check: check,
}, func(cfg *accessv1.Access) actors.Actor { return &keeper{cfg: cfg, court: &access.Court{}} })

type keeper struct {
	cfg      *accessv1.Access
	policy   *access.Policy // nil until it is known who is revoked
	revoked  []string
	restored []string // in this life
	waiting  []waiting
	wishes   []*actors.Request // of doors that have the policy in force
	court    *access.Court

	read      bool   // it is known who is revoked as it stands on disk, or that this cannot be known
	unread    error  // why it is not, or cannot be
	unwritten string // what has not come to the disk
	recalled  bool   // it is known who was revoked, from wherever, or that this cannot be known

	lists   *access.Lists // nil: none are configured, or they have not been read yet
	former  *access.Lists // of the config before, until those of this one have come
	seen    []stamp       // of the files they are from
	trouble string        // with them
	looking bool
	online  *ocsp.Client // nil: no responder is asked, or not yet
	silent  string       // why a responder gives no answer
	asking  bool
	timer   *actors.Timer
}

// recalled says that the revocations of former lives have come.
type recalled struct{}

func (k *keeper) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		if _, err := policy(k.cfg, nil); err != nil {
			return actors.Broken(err)
		}
		k.look(c)
		if k.cfg.Revocation != nil {
			k.timer = c.Every(listsEvery, listsDue{})
		}
		c.Recall(noteLeaf, &accessv1.Revocations{})
	case actors.Reconfigured:
		return k.reconfigure(c, m.Config.(*accessv1.Access))
	case actors.Delivery:
		return k.recall(m)
	case listsDue:
		k.look(c)
	case listsRead:
		return k.listed(c, m)
	case renewed:
		return k.answered(c)
	case actors.Recalled:
		return k.fromDisk(c, m)
	case actors.Noted:
		k.onDisk(c, m.Err)
	case recalled:
		return k.settled(c)
	case actors.Failed:
		return k.failed(c, m)
	case *access.Wish:
		k.grant(c, m)
	case *accessv1.ListRequest:
		c.Reply(k.list(time.Now()))
	case *accessv1.MayRequest:
		k.may(c, m)
	case *accessv1.RevokeRequest:
		return k.revoke(c, m)
	case *accessv1.RestoreRequest:
		return k.restore(c, m)
	}
	return nil
}

func (k *keeper) failed(c *actors.Context, m actors.Failed) error {
	if _, of := m.Of.(recalled); !of {
		r := k.cfg.Revocation
		k.asking = false
		return k.listed(c, listsRead{lists: access.Unread(m.Err, cmp.Or(k.lists, k.former), r.GetSerials(), r.GetLenient()), of: r})
	}
	// Nobody may be locked out for ever because the store is gone; but it shows.
	return k.settled(c)
}

// grant answers a door that has another policy than the one in force, and keeps
// the wish of one that has it.
func (k *keeper) grant(c *actors.Context, m *access.Wish) {
	if k.policy != nil && m.Have != k.policy {
		c.Reply(k.policy)
		return
	}
	k.wishes = append(k.wishes, c.Take())
}

// enforce puts config and revocations in force, and tells the doors.
func (k *keeper) enforce(c *actors.Context) error {
	if k.cfg.Revocation != nil && k.lists == nil {
		return nil // they come
	}
	p, err := policy(k.cfg, k.revoked)
	if err != nil {
		return actors.Broken(err)
	}
	p.Revoke(k.lists, k.online)
	p.Keep(c.Name())
	k.policy = p
	k.court.Set(p)
	c.Judge(k.judge) // here, not at the start: until now the life before judges
	for _, w := range k.wishes {
		w.Reply(p)
	}
	k.wishes = nil
	return nil
}

// judge judges a call of somebody who came in by the policy. Any goroutine may call it.
func (k *keeper) judge(w actors.Caller, topic string, waited bool) error {
	if id, ok := w.Proof.(*access.Identity); ok && waited { // when it came his door had just looked
		if err := k.court.Stands(id, time.Now()); err != nil {
			return actors.Errorf(actors.PermissionDenied, "%s may no longer use %s: %s", id.Name, topic, err)
		}
	}
	name, ok := strings.CutPrefix(w.Identity, "user/")
	if !ok {
		return nil
	}
	err := k.court.Judge(name, topic, waited, time.Now())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, access.ErrRate):
		return actors.Errorf(actors.ResourceExhausted, "%s may not use %s now: %s", name, topic, err)
	}
	return actors.Errorf(actors.PermissionDenied, "%s may not use %s: %s", name, topic, err)
}

func (k *keeper) reconfigure(c *actors.Context, cfg *accessv1.Access) error {
	if _, err := policy(cfg, nil); err != nil {
		return actors.Broken(err)
	}
	if !proto.Equal(k.cfg.Revocation.GetOcsp(), cfg.Revocation.GetOcsp()) {
		k.online, k.silent = nil, ""
	}
	k.cfg, k.former, k.lists, k.seen, k.trouble = cfg, cmp.Or(k.lists, k.former), nil, nil, ""
	if cfg.Revocation == nil {
		k.former = nil
	}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	if k.look(c); cfg.Revocation != nil {
		k.timer = c.Every(listsEvery, listsDue{})
	}
	if !k.recalled {
		return nil // it comes
	}
	k.say(c)
	return k.enforce(c)
}

func (k *keeper) recall(m actors.Delivery) error {
	var r accessv1.Revocations
	if err := protojson.Unmarshal(m.Payload, &r); err != nil {
		return fmt.Errorf("who is revoked: %w", err)
	}
	k.revoked = merged(r.Identities, k.revoked, k.restored)
	return nil
}

func (k *keeper) revoke(c *actors.Context, m *accessv1.RevokeRequest) error {
	if !k.known(c, m.Identity) {
		return nil
	}
	if !slices.Contains(k.revoked, m.Identity) {
		k.revoked = append(k.revoked, m.Identity)
		c.State("revoked", &accessv1.Revocations{Identities: k.revoked})
		c.Event("revoked", &accessv1.Revoked{Time: timestamppb.Now(), Identity: m.Identity, Reason: m.Reason, Caller: c.Caller().Identity})
		c.Log().Warn("identity revoked", "identity", m.Identity, "by", c.Caller().Identity, "reason", m.Reason)
		k.restored = slices.DeleteFunc(k.restored, func(name string) bool { return name == m.Identity })
	}
	k.waiting = append(k.waiting, waiting{c.Take(), &accessv1.RevokeResponse{}})
	k.keep(c)
	return k.enforce(c)
}

func (k *keeper) restore(c *actors.Context, m *accessv1.RestoreRequest) error {
	i := slices.Index(k.revoked, m.Identity)
	if i < 0 {
		if k.known(c, m.Identity) {
			c.Refuse(fmt.Errorf("identity %q is not revoked", m.Identity))
		}
		return nil
	}
	k.revoked = slices.Delete(k.revoked, i, i+1)
	c.State("revoked", &accessv1.Revocations{Identities: k.revoked})
	c.Event("restored", &accessv1.Restored{Time: timestamppb.Now(), Identity: m.Identity, Caller: c.Caller().Identity})
	k.restored = append(k.restored, m.Identity)
	k.waiting = append(k.waiting, waiting{c.Take(), &accessv1.RestoreResponse{}})
	k.keep(c)
	return k.enforce(c)
}

// known refuses a request about somebody who is not in the config, or comes too early.
func (k *keeper) known(c *actors.Context, name string) bool {
	switch {
	case k.policy == nil:
		c.Refuse(actors.Errorf(actors.Unavailable, "who is revoked is not known yet"))
	case !slices.ContainsFunc(k.cfg.Identities, func(id *accessv1.Identity) bool { return id.Name == name }):
		c.Refuse(actors.Errorf(actors.NotFound, "there is no identity %q", name))
	default:
		return true
	}
	return false
}

func (k *keeper) may(c *actors.Context, m *accessv1.MayRequest) {
	if k.policy == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "who is revoked is not known yet"))
		return
	}
	id, err := k.policy.Lookup(m.Identity, time.Now())
	switch {
	case err != nil:
		c.Reply(&accessv1.MayResponse{Why: err.Error()})
	case !id.May(m.Topic):
		c.Reply(&accessv1.MayResponse{Why: "none of its roles allows it, or one denies it"})
	default:
		c.Reply(&accessv1.MayResponse{Allowed: true})
	}
}
