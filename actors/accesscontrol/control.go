// Package accesscontrol is the actor kind that keeps the access policy of the gateway and
// distributes it to the listeners. Package protocols/access evaluates the policy.
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

// Kind is the actor kind access-control.
var Kind = actors.Define(actors.Kind{
	Name:     "access-control",
	Doc:      "Keeps the access policy of the gateway, and cuts off identities that an operator revokes.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(accessv1.File_access_v1_access_proto, "AccessService")},
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "revoked", Message: &accessv1.Revoked{}},
		{Class: "event", Leaf: "restored", Message: &accessv1.Restored{}},
		{Class: "event", Leaf: "lists", Message: &accessv1.ListTrouble{}},
		{Class: "state", Leaf: "revoked", Message: &accessv1.Revocations{}},
	},
	Live:  true,
	Check: check,
}, func(cfg *accessv1.Access) actors.Actor { return &keeper{cfg: cfg, authorizer: &access.Authorizer{}} })

type keeper struct {
	cfg        *accessv1.Access
	policy     *access.Policy // nil until the revocations are known
	revoked    []string
	restored   []string // in this life
	waiting    []waiting
	requests   []*actors.Request // requests of listeners that already have the policy in force
	authorizer *access.Authorizer

	read      bool   // the stored revocations have been read, or can never be read
	unread    error  // why they are unread or unreadable
	unwritten string // the change that is not on disk
	recalled  bool   // the revocations are known from some source, or can never be known

	lists   *access.CRLs // nil: none are configured, or not read yet
	former  *access.CRLs // of the previous config, until those of this one have been read
	seen    []stamp      // versions of the files they were read from
	trouble string       // what is wrong with them
	looking bool
	online  *ocsp.Client // nil: no responder is configured, or not yet known
	silent  string       // why a responder gives no answer
	asking  bool
	timer   *actors.Timer
}

// recalled is sent when the last state on the bus, with the revocations of earlier lives, has been
// delivered.
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
	case *access.PolicyRequest:
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
		return k.listed(c, listsRead{lists: access.UnreadableCRLs(m.Err, cmp.Or(k.lists, k.former), r.GetSerials(), r.GetLenient()), of: r})
	}
	// A lost store must not lock everybody out for ever, but the health shows it.
	return k.settled(c)
}

// grant answers a listener that has another policy than the one in force. The request of a listener
// that has the current one is kept until the policy changes.
func (k *keeper) grant(c *actors.Context, m *access.PolicyRequest) {
	if k.policy != nil && m.Have != k.policy {
		c.Reply(k.policy)
		return
	}
	k.requests = append(k.requests, c.Take())
}

// enforce puts config and revocations in force and informs the listeners.
func (k *keeper) enforce(c *actors.Context) error {
	if k.cfg.Revocation != nil && k.lists == nil {
		return nil // they are still being read
	}
	p, err := policy(k.cfg, k.revoked)
	if err != nil {
		return actors.Broken(err)
	}
	p.Revoke(k.lists, k.online)
	p.Keep(c.Name())
	k.policy = p
	k.authorizer.Set(p)
	c.SetAuthorizer(k.judge) // here and not at the start: until now the previous life judges
	for _, w := range k.requests {
		w.Reply(p)
	}
	k.requests = nil
	return nil
}

// judge judges a call of a client that was admitted under the policy. Any goroutine may call it.
func (k *keeper) judge(w actors.Caller, topic string, waited bool) error {
	// When the call arrived, its listener had just checked the identity.
	if id, ok := w.Proof.(*access.Identity); ok && waited {
		if err := k.authorizer.Valid(id, time.Now()); err != nil {
			return actors.Errorf(actors.PermissionDenied, "%s may no longer use %s: %s", id.Name, topic, err)
		}
	}
	name, ok := strings.CutPrefix(w.Identity, "user/")
	if !ok {
		return nil
	}
	err := k.authorizer.Authorize(name, topic, waited, time.Now())
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
		return nil // the answer comes later
	}
	k.say(c)
	return k.enforce(c)
}

func (k *keeper) recall(m actors.Delivery) error {
	var r accessv1.Revocations
	if err := protojson.Unmarshal(m.Payload, &r); err != nil {
		return fmt.Errorf("read the revoked identities: %w", err)
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

// known refuses a request about an identity that is not in the config, or before the revocations
// are known.
func (k *keeper) known(c *actors.Context, name string) bool {
	switch {
	case k.policy == nil:
		c.Refuse(actors.Errorf(actors.Unavailable, "the revoked identities are not loaded yet: try again in a moment"))
	case !slices.ContainsFunc(k.cfg.Identities, func(id *accessv1.Identity) bool { return id.Name == name }):
		c.Refuse(actors.Errorf(actors.NotFound, "unknown identity %q", name))
	default:
		return true
	}
	return false
}

func (k *keeper) may(c *actors.Context, m *accessv1.MayRequest) {
	if k.policy == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "the revoked identities are not loaded yet: try again in a moment"))
		return
	}
	id, err := k.policy.Lookup(m.Identity, time.Now())
	switch {
	case err != nil:
		c.Reply(&accessv1.MayResponse{Why: err.Error()})
	case !id.May(m.Topic):
		c.Reply(&accessv1.MayResponse{Why: "no role allows it, or one denies it"})
	default:
		c.Reply(&accessv1.MayResponse{Allowed: true})
	}
}
