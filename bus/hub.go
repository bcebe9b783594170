package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// What passes between a gateway and its hub, beside what has a class:
//
//	$JS.<gateway>.API.DIRECT.GET.STATE          the hub asks for last states; EVENTS likewise
//	$JS.<gateway>.API.CONSUMER.RESET.TRACKS.…   a stream of the hub begins to source the tracks, see source.go
//	$JS.FC.TRACKS.HUB_<gateway>.…               and says how far it is
//	gw.<gateway>.source.tracks                  what it gets
//	$JSC.R.<gateway>.…                          the gateway's answer to a reset
//
// To the hub the gateway is a domain of JetStream of that name, of which it may use just this. The server's own setting of a domain would
// offer all of its API there.

// domain is a subject of the store's API as the hub has it, below $JS.API.
func domain(gateway, tail string) string { return "$JS." + gateway + ".API." + tail }

// request is something that the hub may ask of the gateway.
type asked struct{ here, there string }

// asks are the requests that the hub may send, and what they are called here.
func (l *Leaf) asks(gateway string) (all []asked, err error) {
	for _, filter := range l.Calls {
		s, err := l.call(gateway, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, asked{s, s})
	}
	for _, s := range discovery {
		all = append(all, asked{s, s})
	}
	for _, c := range l.hears() {
		if stream, ok := streamOf[c]; ok {
			tail := "DIRECT.GET." + stream
			all = append(all, asked{"$JS.API." + tail, domain(gateway, tail)})
		}
	}
	if len(l.Tracks) > 0 {
		reset := "CONSUMER.RESET." + streamTracks + "." + hubConsumer(gateway)
		all = append(all, asked{"$JS.API." + reset, domain(gateway, reset)})
		flow := "$JS.FC." + streamTracks + "." + hubConsumer(gateway) + ".*"
		all = append(all, asked{flow, flow})
	}
	return all, nil
}

// tells are the subjects that the hub may hear.
func (l *Leaf) tells(gateway string) (all []string) {
	for _, c := range l.hears() {
		all = append(all, "gw."+gateway+"."+string(c)+".>")
	}
	if len(l.Tracks) > 0 {
		all = append(all, sourceSubject(gateway))
	}
	return all
}

// admit gives the hub its view of this gateway. It is an account and not a set of permissions: a request carries a reply subject of the
// hub's choice, and within an account of the gateway's own the answer would be delivered there with the gateway's rights.
func (l *Leaf) admit(s *server.Server, gateway string) error {
	own := s.GlobalAccount()
	hub, err := s.LookupAccount(roleHub)
	if err != nil {
		return fmt.Errorf("account of the hub: %w", err)
	}
	var errs []error
	for _, subject := range l.tells(gateway) {
		errs = append(errs, own.AddStreamExport(subject, nil), hub.AddStreamImport(own, subject, ""))
	}
	asks, err := l.asks(gateway)
	if err != nil {
		return err
	}
	for _, a := range asks {
		errs = append(errs, own.AddServiceExportWithResponse(a.here, server.Streamed, nil), hub.AddServiceImport(own, a.there, a.here))
		if !Match(commands, a.here) {
			errs = append(errs, own.SetServiceExportResponseThreshold(a.here, flushTimeout))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("view of the hub: %w", err)
	}
	return nil
}

// A Grant is what a hub must let somebody do there, and no more: the permissions of a user.
type Grant struct{ Publish, Subscribe []string }

// Grant is that of a gateway with this Leaf. To answer what it is asked it must be able to publish to inboxes, whose names nobody can guess:
// leave to respond only, which a hub has a setting for, is not known to the gateway's end of a leaf connection.
func (l *Leaf) Grant(gateway string) (g Grant, err error) {
	asks, err := l.asks(gateway)
	if err != nil {
		return g, err
	}
	for _, a := range asks {
		g.Subscribe = append(g.Subscribe, a.there)
	}
	g.Publish = append(l.tells(gateway), inboxAny+".>")
	if len(l.Tracks) > 0 {
		g.Publish = append(g.Publish, "$JSC.R."+gateway+".*."+streamTracks+"."+hubConsumer(gateway)+".*")
	}
	return g, nil
}

func (l *Leaf) hears() []Class {
	if len(l.Hears) > 0 {
		return l.Hears
	}
	return []Class{Data, Event, State, Track}
}
