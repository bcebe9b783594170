// Package uplinknats is the actor kind that sends records to a NATS server or cluster. A record is
// acknowledged when a JetStream stream there has stored it.
package uplinknats

import (
	"net/url"

	"gatewayd/actors"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/natssend"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/tlsfiles"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-nats.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-nats",
	Doc:  "Sends tracks to a NATS server or cluster, into a JetStream stream.",
}, reach)

func reach(who uplink.Instance, cfg *uplinkv1.UplinkNats) (uplink.Far, error) {
	form, err := uplink.Form(cfg.Shape, cfg.Custom, map[string]string{"json": "webhook"})
	if err != nil {
		return uplink.Far{}, err
	}
	form.Topic, form.Between = cfg.Subject, ""
	to := natssend.Config{
		URLs: cfg.Urls, Name: "gatewayd " + who.Gateway + " " + who.Path, CredsFile: cfg.CredsFile, NKeyFile: cfg.NkeyFile, Username: cfg.Username,
		Password: cfg.Password, Token: cfg.Token, Form: form, Who: shape.Origin{Gateway: who.Gateway, Uplink: who.Path}, Stream: cfg.Stream, Compress: cfg.Compress,
	}
	if t := cfg.Tls; t != nil {
		files := tlsfiles.ClientOf(t)
		to.TLS = &files
	}
	where := ""
	for _, one := range cfg.Urls {
		u, err := url.Parse(one)
		if err != nil {
			return uplink.Far{}, err
		}
		if where != "" {
			where += ", "
		}
		where += u.Scheme + "://" + u.Host
	}
	return uplink.Far{Where: where, Dial: to.Dial}, to.Check()
}
