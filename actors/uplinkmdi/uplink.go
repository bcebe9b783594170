// Package uplinkmdi is the actor kind that sends records to a receiver of the compact protocol in
// protocols/mdi.
package uplinkmdi

import (
	"context"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/mdi"
	"gatewayd/protocols/tlsfiles"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-mdi.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-mdi",
	Doc:  "Sends tracks in a compact binary form, for slow and metered links.",
}, reach)

func reach(who uplink.Instance, cfg *uplinkv1.UplinkMdi) (uplink.Far, error) {
	to := mdi.Target{}
	scheme, where, _ := strings.Cut(cfg.Url, "://")
	scheme, found := strings.CutSuffix(scheme, "+srv")
	if found {
		to.Service = where
	} else {
		to.Address = where
	}
	files := tlsfiles.ClientOf(cfg.Tls)
	me := mdi.ClientConfig{Gateway: cfg.Name, Keepalive: cfg.KeepAlive.AsDuration().Truncate(time.Second), Patience: cfg.GetSend().GetTimeout().AsDuration()}
	if me.Gateway == "" {
		me.Gateway = who.Gateway
	}
	if me.Patience == 0 {
		me.Patience = 30 * time.Second
	}
	session := mdi.NewSession(me)
	return uplink.Far{Where: cfg.Url, Limit: me.Patience, Dial: func(ctx context.Context, hear far.Callbacks) (far.Sender, error) {
		to := to
		if scheme == "tls" {
			var err error
			// Read again each time: the files may have been renewed.
			if to.TLS, err = files.Config(""); err != nil {
				return nil, err
			}
		}
		return session.Dial(ctx, to, hear)
	}}, nil
}
