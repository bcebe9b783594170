package modbusdoor

import (
	"crypto/x509"
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/access"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Publishes lists what an actor with doors publishes about them.
var Publishes = []actors.Leaf{
	{Class: "event", Leaf: "audited", Message: &modbusv1.Audited{}},
	{Class: "event", Leaf: "insecure", Message: &modbusv1.InsecureDoor{}},
	{Class: "event", Leaf: "cut", Message: &modbusv1.MastersCut{}},
	accessdoor.Refused,
}

var errUnknown = errors.New("its identity was not checked when it connected")

// admission decides which masters may connect, by their certificates.
type admission struct{ *accessdoor.Door }

// ask makes keeper the access control that decides from now on; empty: every master is admitted.
func (a *admission) ask(c *actors.Context, keeper string) {
	if a.Door != nil {
		if a.Keeper() == keeper {
			return
		}
		a.Close()
	}
	a.Door = accessdoor.New(keeper)
	a.Open(c)
}

// admit returns the function for server.Config.Admit.
func (a *admission) admit() func(shown *x509.Certificate, remote string) (any, error) {
	door := a.Door
	if !door.Guarded() {
		return nil
	}
	return func(shown *x509.Certificate, remote string) (any, error) {
		id, err := door.Authenticate(access.Presented{Certificate: shown, Remote: remote})
		if err != nil {
			door.Refuse(access.Refusal{Reason: access.RefusedCredentials, Remote: remote, Cause: err.Error()})
			return nil, err
		}
		return id, nil
	}
}

// take handles the messages of the access control; it returns false for any other.
func (a *admission) take(c *actors.Context, msg any) bool { return a.Door != nil && a.Receive(c, msg) }

// sweep disconnects masters that are no longer admitted.
func (d *Doors) sweep(c *actors.Context) {
	if d.server == nil || !d.admission.Guarded() {
		return
	}
	cut, now := map[string]*modbusv1.MastersCut{}, time.Now()
	d.server.Review(func(who any) error {
		name, err := "", errUnknown
		if id, ok := who.(*access.Identity); ok {
			name, err = id.Name, d.admission.Gone(id, now)
		}
		if err != nil && cut[name] == nil {
			cut[name] = &modbusv1.MastersCut{Identity: name, Cause: err.Error()}
		}
		if err != nil {
			cut[name].Connections++
		}
		return err
	})
	for _, m := range cut {
		c.Log().Warn("masters disconnected", "identity", m.Identity, "connections", m.Connections, "cause", m.Cause)
		c.Event("cut", m)
	}
}
