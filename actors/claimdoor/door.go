// Package claimdoor is the actor kind through which a new gateway is claimed from another machine,
// with a code that only people with access to the gateway can read. Package protocols/claim proves
// knowledge of the code; the Owner changes the gateway.
package claimdoor

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/access"
	"gatewayd/protocols/claim"
	accessv1 "gatewayd/schemas/access/v1"
)

// Owner is the part of the daemon that the actor needs. Any goroutine may call it.
type Owner interface {
	// Prepare makes the operator's papers for an order. keep then makes the gateway the operator's,
	// from its next start on.
	Prepare(o claim.Request) (p claim.Response, keep func() error, err error)
	// Again restarts the daemon soon.
	Again()
}

// Kind is the actor kind claim-door of a gateway without a config file, which cannot be claimed.
var Kind = For(nobody{})

type nobody struct{}

func (nobody) Prepare(claim.Request) (claim.Response, func() error, error) {
	return claim.Response{}, nil, errors.New("this gateway does not run from a config file: it cannot be claimed")
}

func (nobody) Again() {}

// For returns the kind claim-door of a gateway that owner runs.
func For(owner Owner) actors.Kind {
	return actors.Define(actors.Kind{
		Name: "claim-door",
		Doc:  "Lets the first operator claim the gateway from another machine, with a code that the gateway shows on its console.",
		Publishes: []actors.Leaf{
			{Class: "event", Leaf: "claimed", Message: &accessv1.Claimed{}},
			accessdoor.Refused,
		},
	}, func(cfg *accessv1.ClaimDoor) actors.Actor {
		return &door{cfg: cfg, owner: owner, refused: accessdoor.New("")}
	})
}

const (
	startTime = 5 * time.Second
	settle    = time.Second // time to store the events before all actors stop
)

type door struct {
	cfg      *accessv1.ClaimDoor
	owner    Owner
	refused  *accessdoor.Door
	listener *claim.Listener
}

type (
	claimed struct{ operator, remote string }
	again   struct{}
	expired struct{}
)

func (d *door) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		d.start(c)
	case *claim.Listener:
		d.listener = m
		c.Warn("unclaimed: the code in the log allows to claim the gateway at " + m.Addr())
		c.OK()
	case expired:
		if d.listener != nil {
			c.Close(d.listener)
		}
		c.Log().Warn("the claim code of this gateway has expired", "another", "gatewayd call "+c.Name()+" Restart, or a start of the gateway")
		c.Warn("unclaimed, and its code has expired: call Restart to get a new one")
		c.OK()
	case claimed:
		c.Log().Warn("this gateway has been claimed and restarts", "operator", m.operator, "remote", m.remote)
		c.Event("claimed", &accessv1.Claimed{Time: timestamppb.Now(), Caller: "user/" + m.operator, Remote: m.remote})
		c.After(settle, again{})
	case again:
		d.owner.Again()
	case actors.Failed:
		return m.Err
	default:
		d.refused.Receive(c, msg)
	}
	return nil
}

func (d *door) start(c *actors.Context) {
	if d.cfg.Claimed {
		c.OK()
		return
	}
	d.refused.Open(c)
	post, lasts := c.Post(), d.cfg.CodeLifetime.AsDuration()
	cfg := claim.Config{
		Listen: d.cfg.Listen, Code: claim.NewCode(), Until: time.Now().Add(lasts), Prepare: d.owner.Prepare,
		Claimed: func(operator, remote string) { _ = post(claimed{operator, remote}) },
		Refused: func(remote string, why error) {
			d.refused.Refuse(access.Refusal{Reason: access.RefusedCredentials, Remote: remote, Cause: why.Error()})
		},
	}
	log := c.Log()
	c.After(lasts, expired{})
	c.Do(startTime, func(context.Context) (any, error) {
		l, err := claim.Listen(cfg)
		if err == nil {
			server := l.Addr()
			if host, port, err := net.SplitHostPort(server); err == nil && net.ParseIP(host).IsUnspecified() {
				server = "ADDRESS:" + port // any address of the gateway that is reachable
			}
			log.Warn("this gateway is unclaimed; claim it with: gatewayd claim --server "+server+" --code "+cfg.Code, "until", cfg.Until.UTC().Format(time.RFC3339))
		}
		return l, err
	})
}
