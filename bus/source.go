package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream of the hub sources the tracks of a gateway through a consumer that the gateway creates
// and owns. If the hub could create the consumer, it would choose the subject to which the
// gateway's server delivers, with the rights of the gateway: a command, or the JetStream API. The
// hub may only reset the consumer to its last position and acknowledge through flow control. The
// position survives disconnects and restarts at either end.

// hubConsumer returns the name of the consumer for the hub's stream. No actor's consumer has this
// name, because actor names have no upper-case letters.
func hubConsumer(gateway string) string { return "HUB_" + gateway }

// sourceSubject returns the subject on which the hub receives the sourced messages. It belongs to
// no class, and no stream here stores it.
func sourceSubject(gateway string) string { return "gw." + gateway + ".source.tracks" }

// sourced returns the subjects of the tracks that the hub may source.
func (l *Leaf) sourced(gateway string) (all []string, err error) {
	if all, err = trackPatterns(gateway, l.Tracks); err != nil {
		return nil, Errorf(InvalidArgument, "leaf: tracks: %s", err)
	}
	return all, nil
}

// trackPattern returns the NATS pattern of a filter of track paths such as tracks/+ or #.
func trackPattern(gateway, filter string) (string, error) {
	p, err := Pattern(gateway, string(Track)+"/"+strings.Trim(filter, "/"))
	if err == nil && !strings.HasSuffix(p, ".>") {
		p += ".*"
	}
	return p, err
}

// openSource creates the hub's consumer or updates its filters, and deletes it if the hub sources
// nothing.
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
