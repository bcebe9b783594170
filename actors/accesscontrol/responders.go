package accesscontrol

import (
	"context"
	"crypto/x509"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access/ocsp"
)

const (
	renewTime = 20 * time.Second // for all certificates that are due
	renewMost = 15 * time.Second // of that, for asking
)

// renewed is sent when the responders have been asked about the certificates that were due.
type renewed struct{}

// trust sets up asking OCSP responders about certificates of these authorities, if the config says
// so. Their answers stay known while the authorities stay the same.
func (k *keeper) trust(authorities []*x509.Certificate) {
	switch r := k.cfg.Revocation.GetOcsp(); {
	case r == nil:
		k.online = nil
	case k.online == nil || len(authorities) > 0 && !k.online.Trusts(authorities):
		k.online = ocsp.New(r.Url, authorities, r.Every.AsDuration())
	}
}

// renew asks again about certificates whose answers are old.
func (k *keeper) renew(c *actors.Context) {
	if k.asking || !k.online.Due(time.Now()) {
		return
	}
	k.asking = true
	online := k.online
	c.Do(renewTime, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, renewMost)
		defer cancel()
		online.Renew(ctx, time.Now())
		return renewed{}, nil
	})
}

// answered cuts off clients whose certificates have turned out to be revoked.
func (k *keeper) answered(c *actors.Context) error {
	k.asking = false
	if k.recalled && k.lists != nil {
		k.tell(c)
	}
	if !k.recalled || !k.online.Turned() {
		return nil
	}
	return k.enforce(c)
}
