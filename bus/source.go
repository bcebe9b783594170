package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream of the hub sources the tracks of a gateway through a consumer that the gateway makes and keeps, for whoever may make one says
// where it delivers to, with the rights of the gateway: onto a command, or onto the API of the store. So all that the hub may do is to
// begin again where it was, and to say how far it is. The place goes on after cuts and restarts at either end.

// hubConsumer is the place in the tracks of a stream of the hub. No actor's is called so, for they have no upper case.
func hubConsumer(gateway string) string { return "HUB_" + gateway }

// sourceSubject is where the hub gets what it sources. It is of no class, and no stream here takes it.
func sourceSubject(gateway string) string { return "gw." + gateway + ".source.tracks" }

// sourced are the subjects of the tracks that the hub may source.
func (l *Leaf) sourced(gateway string) (all []string, err error) {
	if all, err = trackPatterns(gateway, l.Tracks); err != nil {
		return nil, Errorf(InvalidArgument, "leaf: tracks: %s", err)
	}
	return all, nil
}

// trackPattern is what a filter of paths like tracks/+ or # picks.
func trackPattern(gateway, filter string) (string, error) {
	p, err := Pattern(gateway, string(Track)+"/"+strings.Trim(filter, "/"))
	if err == nil && !strings.HasSuffix(p, ".>") {
		p += ".*"
	}
	return p, err
}

// openSource makes the hub's place in the tracks, or changes what is read from it; a hub that sources nothing has none.
func (b *Bus) openSource(ctx context.Context) error {
	gateway := b.cfg.Gateway
	old, err := b.js.PushConsumer(ctx, streamTracks, hubConsumer(gateway))
	none := errors.Is(err, jetstream.ErrConsumerNotFound)
	switch {
	case err != nil && !none:
		return err
	case b.cfg.Leaf == nil || len(b.cfg.Leaf.Tracks) == 0:
		if none {
			return nil
		}
		return b.js.DeleteConsumer(ctx, streamTracks, hubConsumer(gateway))
	}
	conf := jetstream.ConsumerConfig{
		Durable: hubConsumer(gateway), DeliverSubject: sourceSubject(gateway), AckPolicy: jetstream.AckFlowControlPolicy, MaxAckPending: maxUnacked,
		ReplayPolicy: jetstream.ReplayInstantPolicy, MaxDeliver: -1,
	}
	if conf.FilterSubjects, err = b.cfg.Leaf.sourced(gateway); err != nil {
		return err
	}
	if none {
		_, err = b.js.CreatePushConsumer(ctx, streamTracks, conf)
		return err
	}
	was := old.CachedInfo().Config
	conf.DeliverPolicy, conf.OptStartSeq = was.DeliverPolicy, was.OptStartSeq
	_, err = b.js.UpdatePushConsumer(ctx, streamTracks, conf)
	return err
}
