// Package uplinksparkplug is the actor kind that sends records to Sparkplug B hosts: the gateway is
// an edge node, tracks are its devices or metrics. protocols/sparkplug decides what a node
// publishes and when; protocols/sparkplug/edge does the publishing.
package uplinksparkplug

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/edge"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	trackv1 "gatewayd/schemas/track/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-sparkplug.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-sparkplug",
	Doc:  "Sends tracks to Sparkplug hosts, as an edge node of Sparkplug B 3.0.",
	Beside: func(all []schemas.Actor) []schemas.Finding {
		return append(mqttclientid.Duplicates("uplink-sparkplug", all), vacant(all)...)
	},
}, reach)

// vacant returns a finding for each place that picks no track.
func vacant(all []schemas.Actor) (found []schemas.Finding) {
	var tracks []string
	for _, a := range all {
		if _, ok := a.Config.(*trackv1.Track); ok {
			tracks = append(tracks, a.Path)
		}
	}
	for _, a := range all {
		cfg, _ := a.Config.(*uplinkv1.UplinkSparkplug)
		for i, p := range cfg.GetPlaces() {
			if _, err := path.Match(p.Track, ""); err != nil || slices.ContainsFunc(tracks, func(track string) bool {
				picks, _ := path.Match(p.Track, track)
				return picks
			}) {
				continue
			}
			found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{
				Field: fmt.Sprintf("places[%d].track", i), Warning: true, Message: fmt.Sprintf("%q matches no track%s", p.Track, schemas.DidYouMeanPath(p.Track, tracks)),
			}})
		}
	}
	return found
}

func reach(who uplink.Instance, cfg *uplinkv1.UplinkSparkplug) (uplink.Far, error) {
	to := edge.Config{
		Node: sparkplug.Config{
			Group: cfg.Group, Node: cfg.Node, Host: cfg.PrimaryHost, Plain: cfg.Names,
		},
		Settle: cfg.Settle.AsDuration(),
		Load:   func(ctx context.Context) (int, error) { return load(ctx, who.Notes) },
		Save: func(ctx context.Context, bdSeq int) error {
			return who.Notes.Write(ctx, leaf, &uplinkv1.SparkplugBirth{BdSeq: uint32(bdSeq)})
		},
	}
	if t := cfg.GetSend().GetTimeout().AsDuration(); cfg.PrimaryHost != "" && t > 0 && to.Settle >= t {
		return uplink.Far{}, fmt.Errorf("settle: %s must be shorter than send.timeout, %s", to.Settle, t)
	}
	if to.Node.Node == "" {
		to.Node.Node = who.Gateway
	}
	for _, p := range cfg.Places {
		to.Node.Places = append(to.Node.Places, sparkplug.Place{Track: p.Track, Device: p.Device, Prefix: p.Prefix})
	}
	for _, w := range cfg.Writes {
		to.Node.Commands = append(to.Node.Commands, sparkplug.Command{Device: w.Device, Metric: w.Metric, Type: sparkplug.TypeNamed(w.Type)})
		to.Targets = append(to.Targets, edge.Target{Actor: w.Actor, Method: w.Method, Request: w.Request})
	}
	to.Servers = servers(who, cfg)
	e, err := edge.New(to)
	if err != nil {
		return uplink.Far{}, err
	}
	where := "Sparkplug node " + to.Node.Group + "/" + to.Node.Node + " at " + strings.Join(cfg.Servers, ", ")
	f := uplink.Far{Where: where, Dial: e.Dial}
	if to.Node.Host != "" { // the host may be offline for long, and each server is tried
		f.Limit = hostTime
	}
	return f, nil
}

const (
	leaf     = "birth"          // note in the actor's notebook
	hostTime = 10 * time.Minute // how long one attempt to connect waits for the primary host
)

func load(ctx context.Context, notes actors.Notebook) (bdSeq int, err error) {
	var last uplinkv1.SparkplugBirth
	known, err := notes.Read(ctx, leaf, &last)
	if err != nil || !known {
		return -1, err
	}
	return int(last.BdSeq), nil
}

func servers(who uplink.Instance, cfg *uplinkv1.UplinkSparkplug) (all []mqttclient.Config) {
	l := cfg.Login
	id := l.GetClientId()
	if id == "" {
		id = mqttclient.IDOf(who.Gateway, who.Path)
	}
	for _, url := range cfg.Servers {
		all = append(all, mqttclient.Config{
			URL: url, ClientID: id, Username: l.GetUsername(), Password: l.GetPassword(), KeepAlive: cfg.KeepAlive.AsDuration(),
			TLS: tlsfiles.ClientOf(cfg.GetTls()),
		})
	}
	return all
}
