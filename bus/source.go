package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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

// resetSubject returns the subject on which the bus takes the hub's resets of that consumer.
func resetSubject(gateway string) string { return "gw." + gateway + ".source.reset" }

// resets carries out the hub's resets of the consumer. The server answers a reset with how far the
// consumer has delivered, and the hub skips everything up to there. But the consumer may have begun
// to deliver again before the server looks, while nobody at the hub listens (2.15.2): these messages
// would never be sourced. Such a reset is done again.
func (b *Bus) resets() error {
	if b.cfg.Leaf == nil || len(b.cfg.Leaf.Tracks) == 0 {
		return nil
	}
	nc := b.conn.keep // a reset waits for the disk
	_, err := nc.Subscribe(resetSubject(b.cfg.Gateway), func(m *nats.Msg) {
		ctx, cancel := context.WithTimeout(context.Background(), resetAnswer)
		defer cancel()
		answer, err := settledReset(func() (*nats.Msg, error) {
			q := nats.NewMsg("$JS.API.CONSUMER.RESET." + streamTracks + "." + hubConsumer(b.cfg.Gateway))
			q.Header, q.Data = m.Header, m.Data
			return nc.RequestMsgWithContext(ctx, q)
		})
		if err != nil {
			b.log.Warn("the hub's request to source the tracks was not answered; it will ask again", "err", err)
			return
		}
		answer.Subject, answer.Reply = m.Reply, ""
		_ = nc.PublishMsg(answer)
	})
	return err
}

const (
	resetAnswer = 4 * time.Second // for all tries of one request; the hub waits 5 s
	resetTries  = 20
	resetPause  = 10 * time.Millisecond // for the consumer to notice that nobody listens
)

// settledReset resets until nothing was delivered between a reset and its answer.
func settledReset(reset func() (*nats.Msg, error)) (*nats.Msg, error) {
	for range resetTries {
		m, err := reset()
		if err != nil {
			return nil, err
		}
		var r struct {
			Delivered struct {
				// Deliveries since the reset. The sequence in the stream also grows when the consumer
				// passes over messages that its filters leave out.
				Consumer uint64 `json:"consumer_seq"`
			} `json:"delivered"`
		}
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Delivered.Consumer == 0 {
			return m, nil
		}
		time.Sleep(resetPause)
	}
	return nil, fmt.Errorf("reset %d times, but each time messages were delivered immediately", resetTries)
}

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
