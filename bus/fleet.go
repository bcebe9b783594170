package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Operations of a client at a hub, in addition to those on a single gateway. At a hub, stored data
// of a gateway is requested from the JetStream domain named like the gateway. No gateway can
// impersonate another: only the gateway itself may publish and subscribe under its name.

// Standing is the leaf of the state that describes a gateway to its fleet; the hub keeps the last
// one of each gateway.
const Standing = "standing"

// streamFleet is the stream at the hub that keeps the last standing of every gateway that ever
// connected.
const streamFleet = "FLEET"

func standingOf(gateway string) string { return Subject(gateway, State, "bus", Standing) }

// direct returns the subject for direct gets from a stream.
func (c *Conn) direct(stream string, req directGet) (string, error) {
	if !c.hub || stream != streamState && stream != streamEvents {
		return getKept + stream, nil
	}
	tok := strings.SplitN(cmp.Or(req.NextFor, req.LastFor), ".", 3)
	if len(tok) < 3 || CheckGateway(tok[1]) != nil {
		return "", Errorf(InvalidArgument, "name a single gateway: the hub itself does not store %s", cmp.Or(req.NextFor, req.LastFor))
	}
	return domain(tok[1], "DIRECT.GET."+stream), nil
}

// away is the error that no gateway answers at the hub.
func away(subject string) error {
	return Errorf(Unavailable, "gateway %s is not connected to the hub, or does not give it access to stored messages", strings.Split(subject, ".")[1])
}

// Roster creates the stream that keeps the standing of every gateway, or changes its number of
// replicas.
func (c *Conn) Roster(ctx context.Context, replicas int) error {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamFleet, Description: "the last status of every gateway", Subjects: []string{standingOf("*")}, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, AllowDirect: true, Replicas: replicas,
	})
	return c.atHub(ctx, "stream "+streamFleet, err)
}

// Fleet calls each with the last standing of every gateway in the hub's roster; Record.Time is when
// it was published. It returns NotFound if the hub has no roster.
func (c *Conn) Fleet(ctx context.Context, each func(gateway string, r Record) error) error {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	if _, err := js.Stream(ctx, streamFleet); err != nil {
		return c.atHub(ctx, "stream "+streamFleet, err)
	}
	_, err = c.scan(ctx, c.nc, streamFleet, standingOf("*"), 1, func(r Record) error {
		a, err := ParseSubject(r.Subject)
		if err != nil {
			return nil
		}
		return each(a.Gateway, r)
	})
	return err
}

// Meet lists the gateways that answer now, by their own metadata. It is a fallback for a hub
// without a roster. It ends when no new gateway has answered for the duration quiet.
func (c *Conn) Meet(ctx context.Context, quiet time.Duration) (gateways []string, err error) {
	box := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(box)
	if err != nil {
		return nil, c.reason(ctx, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest("$SRV.PING.bus", box, nil); err != nil {
		return nil, c.reason(ctx, err)
	}
	for {
		m, err := sub.NextMsg(quiet)
		if err != nil {
			return gateways, ctx.Err()
		}
		var pong struct{ Metadata map[string]string }
		if json.Unmarshal(m.Data, &pong) != nil || CheckGateway(pong.Metadata["gateway"]) != nil || slices.Contains(gateways, pong.Metadata["gateway"]) {
			continue
		}
		gateways = append(gateways, pong.Metadata["gateway"])
	}
}

// StandingReply is the result of asking a gateway for its standing.
type StandingReply struct {
	Gateway  string
	Answered bool   // the gateway answered
	Record   Record // its standing; Seq 0: none
}

// atOnce is how many gateways are asked before waiting for answers.
const atOnce = 2000

// Ask asks each of these gateways for its standing, up to 2000 at once. A gateway that has not
// answered within patience is reported with Answered false.
func (c *Conn) Ask(ctx context.Context, gateways []string, patience time.Duration) (all []StandingReply, err error) {
	for part := range slices.Chunk(gateways, atOnce) {
		words, err := c.ask(ctx, part, patience)
		if err != nil {
			return all, err
		}
		all = append(all, words...)
	}
	return all, nil
}

func (c *Conn) ask(ctx context.Context, gateways []string, patience time.Duration) ([]StandingReply, error) {
	all := make([]StandingReply, len(gateways))
	box := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(box + ".*")
	if err != nil {
		return nil, c.reason(ctx, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i, id := range gateways {
		all[i].Gateway = id
		body, err := json.Marshal(directGet{LastFor: standingOf(id)})
		if err == nil {
			err = c.nc.PublishRequest(domain(id, "DIRECT.GET."+streamState), box+"."+strconv.Itoa(i), body)
		}
		if err != nil {
			return nil, c.reason(ctx, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range gateways {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return all, nil
		}
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err != nil {
			return nil, c.reason(ctx, err)
		}
		i, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || i < 0 || i >= len(all) {
			continue
		}
		all[i].Answered = true
		if first(m.Header, "Status") == "" {
			all[i].Record = c.record(m)
		}
	}
	return all, nil
}

// Source is a gateway whose tracks a stream of the hub sources.
type Source struct {
	Gateway string
	Lag     uint64        // messages pending at the gateway
	Active  time.Duration // since the gateway was last heard from; negative: never
}

// Sourcing changes the gateways whose tracks a stream of the hub sources, and returns the state of
// the stream. It creates the stream if it does not exist and add is not empty. Which of its tracks
// may be sourced is set in each gateway's own config.
func (c *Conn) Sourcing(ctx context.Context, stream string, replicas int, add, remove []string) (messages uint64, all []Source, err error) {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return 0, nil, err
	}
	s, err := js.Stream(ctx, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && len(add) > 0:
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: stream, Description: "tracks of gateways", Storage: jetstream.FileStorage, AllowDirect: true, Replicas: max(replicas, 1), Sources: sources(nil, add, nil),
		})
	case err == nil && (len(add) > 0 || len(remove) > 0 || replicas > 0):
		conf := s.CachedInfo().Config
		conf.Sources, conf.Replicas = sources(conf.Sources, add, remove), cmp.Or(replicas, conf.Replicas)
		s, err = js.UpdateStream(ctx, conf)
	}
	if err != nil {
		return 0, nil, c.atHub(ctx, "stream "+stream, err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, nil, c.atHub(ctx, "stream "+stream, err)
	}
	for _, src := range info.Sources {
		if src.External != nil {
			all = append(all, Source{Gateway: strings.Split(src.External.APIPrefix, ".")[1], Lag: src.Lag, Active: src.Active})
		}
	}
	slices.SortFunc(all, func(a, b Source) int { return strings.Compare(a.Gateway, b.Gateway) })
	return info.State.Msgs, all, nil
}

// sources returns the sources now, with the gateways of add added and those of remove removed.
func sources(now []*jetstream.StreamSource, add, remove []string) []*jetstream.StreamSource {
	is := func(s *jetstream.StreamSource, gateways []string) bool {
		return s.External != nil && slices.ContainsFunc(gateways, func(id string) bool { return s.External.APIPrefix == "$JS."+id+".API" })
	}
	now = slices.DeleteFunc(slices.Clone(now), func(s *jetstream.StreamSource) bool { return is(s, add) || is(s, remove) })
	for _, id := range add {
		now = append(now, &jetstream.StreamSource{
			Name: streamTracks, External: &jetstream.ExternalStream{APIPrefix: "$JS." + id + ".API", DeliverPrefix: "gw." + id + ".source"},
			Consumer: &jetstream.StreamConsumerSource{Name: hubConsumer(id), DeliverSubject: sourceSubject(id)},
		})
	}
	return now
}

// atHub converts an error of the hub's JetStream to an *Error.
func (c *Conn) atHub(ctx context.Context, what string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Errorf(NotFound, "the hub has no %s", what)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return Errorf(FailedPrecondition, "%s: the hub stores nothing: enable jetstream on its servers and for the account of the gateways", what)
	case errors.As(err, &api):
		return Errorf(FailedPrecondition, "%s: %s", what, api.Description)
	}
	return fmt.Errorf("%s: %w", what, c.reason(ctx, err))
}

// OperatorGrant returns the permissions that a fleet operator needs at the hub: to subscribe to and
// call gateways as far as these permit it, and to manage streams at the hub.
func OperatorGrant() (g Grant) {
	g.Publish = []string{commands, "$JS.API.>", domain("*", "DIRECT.GET."+streamState), domain("*", "DIRECT.GET."+streamEvents), "$SRV.>"}
	for _, c := range visible {
		g.Subscribe = append(g.Subscribe, "gw.*."+string(c)+".>")
	}
	g.Subscribe = append(g.Subscribe, inboxAny+".>")
	return g
}
