package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// Subjects between a gateway and its hub, in addition to those of the classes:
//
//	$JS.<gateway>.API.DIRECT.GET.STATE          the hub requests last states; EVENTS likewise
//	$JS.<gateway>.API.CONSUMER.RESET.TRACKS.…   a stream of the hub starts to source the tracks, see source.go
//	$JS.FC.TRACKS.HUB_<gateway>.…               that stream acknowledges what it has received
//	gw.<gateway>.source.tracks                  the sourced messages
//	$JSC.R.<gateway>.…                          the gateway's answer to a reset
//
// To the hub the gateway looks like a JetStream domain of its name, of which the hub may use only
// these subjects. The server's own domain setting would expose the whole JetStream API.

// domain returns a subject of the JetStream API as the hub sees it; tail is the part after $JS.API.
func domain(gateway, tail string) string { return "$JS." + gateway + ".API." + tail }

// hubRequest is a request subject of the hub: its name on the gateway and at the hub.
type hubRequest struct{ here, there string }

// requests returns the requests that the hub may send.
func (l *Leaf) requests(gateway string) (all []hubRequest, err error) {
	for _, filter := range l.Calls {
		s, err := l.call(gateway, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, hubRequest{s, s})
	}
	for _, s := range discovery {
		all = append(all, hubRequest{s, s})
	}
	for _, c := range l.classes() {
		if stream, ok := streamOf[c]; ok {
			tail := "DIRECT.GET." + stream
			all = append(all, hubRequest{"$JS.API." + tail, domain(gateway, tail)})
		}
	}
	if len(l.Tracks) > 0 {
		reset := "CONSUMER.RESET." + streamTracks + "." + hubConsumer(gateway)
		all = append(all, hubRequest{resetSubject(gateway), domain(gateway, reset)})
		flow := "$JS.FC." + streamTracks + "." + hubConsumer(gateway) + ".*"
		all = append(all, hubRequest{flow, flow})
	}
	return all, nil
}

// subjects returns the subjects to which the hub may subscribe.
func (l *Leaf) subjects(gateway string) (all []string) {
	for _, c := range l.classes() {
		all = append(all, "gw."+gateway+"."+string(c)+".>")
	}
	if len(l.Tracks) > 0 {
		all = append(all, sourceSubject(gateway))
	}
	return all
}

// admit gives the hub access to this gateway through an account of its own. Permissions would not
// be enough: a request carries a reply subject of the hub's choice, and within the gateway's
// account the answer would be delivered there with the gateway's rights.
func (l *Leaf) admit(s *server.Server, gateway string) error {
	own := s.GlobalAccount()
	hub, err := s.LookupAccount(roleHub)
	if err != nil {
		return fmt.Errorf("account of the hub: %w", err)
	}
	var errs []error
	for _, subject := range l.subjects(gateway) {
		errs = append(errs, own.AddStreamExport(subject, nil), hub.AddStreamImport(own, subject, ""))
	}
	asks, err := l.requests(gateway)
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

// A Grant is the minimum set of permissions that a user needs at the hub.
type Grant struct{ Publish, Subscribe []string }

// Grant returns the permissions of a gateway with this Leaf. To answer requests the gateway must be
// able to publish to inboxes, whose names cannot be guessed: the hub's allow_responses setting is
// not available to the gateway's end of a leaf connection.
func (l *Leaf) Grant(gateway string) (g Grant, err error) {
	asks, err := l.requests(gateway)
	if err != nil {
		return g, err
	}
	for _, a := range asks {
		g.Subscribe = append(g.Subscribe, a.there)
	}
	g.Publish = append(l.subjects(gateway), inboxAny+".>")
	if len(l.Tracks) > 0 {
		g.Publish = append(g.Publish, "$JSC.R."+gateway+".*."+streamTracks+"."+hubConsumer(gateway)+".*")
	}
	return g, nil
}

func (l *Leaf) classes() []Class {
	if len(l.Subscribe) > 0 {
		return l.Subscribe
	}
	return []Class{Data, Event, State, Track}
}
