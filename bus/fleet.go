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

// What a client does at a hub, beside what it does with one gateway. A gateway there is asked for what it keeps as a domain of JetStream
// that is called like it. None is believed about another one: only it hears and says what has its name.

// Standing is the state by which a fleet knows a gateway: the last one of each is kept at the hub.
const Standing = "standing"

// streamFleet keeps at the hub the last standing of every gateway that ever was there.
const streamFleet = "FLEET"

func standingOf(gateway string) string { return Subject(gateway, State, "bus", Standing) }

// direct is where what a stream keeps is asked for.
func (c *Conn) direct(stream string, req directGet) (string, error) {
	if !c.hub || stream != streamState && stream != streamEvents {
		return getKept + stream, nil
	}
	tok := strings.SplitN(cmp.Or(req.NextFor, req.LastFor), ".", 3)
	if len(tok) < 3 || CheckGateway(tok[1]) != nil {
		return "", Errorf(InvalidArgument, "name one gateway: at a hub nobody keeps %s", cmp.Or(req.NextFor, req.LastFor))
	}
	return domain(tok[1], "DIRECT.GET."+stream), nil
}

// away says that nobody at the hub answers for a gateway.
func away(subject string) error {
	return Errorf(Unavailable, "gateway %s is not connected to the hub, or does not let it hear what it keeps", strings.Split(subject, ".")[1])
}

// Roster makes the stream that remembers every gateway, or changes how many servers keep it.
func (c *Conn) Roster(ctx context.Context, replicas int) error {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamFleet, Description: "the last standing of every gateway", Subjects: []string{standingOf("*")}, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, AllowDirect: true, Replicas: replicas,
	})
	return c.atHub(ctx, "stream "+streamFleet, err)
}

// Fleet calls each with the last standing of every gateway that the hub remembers, and with when it said so. A hub without a roster
// remembers none; that is NotFound.
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

// Meet lists gateways that answer now, by what they say of themselves: a hint for a hub that remembers none. It ends when nobody new has
// answered for as long as quiet.
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

// Word is what came of asking a gateway for its standing.
type Word struct {
	Gateway string
	Here    bool   // it answers
	Record  Record // its standing; Seq 0: it has none
}

// atOnce is how many gateways are asked before the first has answered.
const atOnce = 2000

// Ask asks each of these gateways for its standing, many at once; one that has not answered when patience ends is not here.
func (c *Conn) Ask(ctx context.Context, gateways []string, patience time.Duration) (all []Word, err error) {
	for part := range slices.Chunk(gateways, atOnce) {
		words, err := c.ask(ctx, part, patience)
		if err != nil {
			return all, err
		}
		all = append(all, words...)
	}
	return all, nil
}

func (c *Conn) ask(ctx context.Context, gateways []string, patience time.Duration) ([]Word, error) {
	all := make([]Word, len(gateways))
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
		all[i].Here = true
		if first(m.Header, "Status") == "" {
			all[i].Record = c.record(m)
		}
	}
	return all, nil
}

// Source is a gateway whose tracks a stream of the hub sources.
type Source struct {
	Gateway string
	Lag     uint64        // messages that wait at the gateway
	Active  time.Duration // since it was last heard; negative: never
}

// Sourcing changes whose tracks a stream of the hub sources, which is made when it is not there, and tells how it stands. A gateway says
// in its own config which of its tracks that may be.
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

// sources are those of a stream that has these now, with some gateways more or less.
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

// atHub is an error of the hub's store in words.
func (c *Conn) atHub(ctx context.Context, what string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Errorf(NotFound, "%s is not at the hub", what)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return Errorf(FailedPrecondition, "%s: the hub keeps nothing: its servers need jetstream, and the account of the gateways too", what)
	case errors.As(err, &api):
		return Errorf(FailedPrecondition, "%s: %s", what, api.Description)
	}
	return fmt.Errorf("%s: %w", what, c.reason(ctx, err))
}

// OperatorGrant is what an operator of a fleet must be let do at the hub: to hear and call gateways as far as they let the hub, and to keep
// streams there.
func OperatorGrant() (g Grant) {
	g.Publish = []string{commands, "$JS.API.>", domain("*", "DIRECT.GET."+streamState), domain("*", "DIRECT.GET."+streamEvents), "$SRV.>"}
	for _, c := range visible {
		g.Subscribe = append(g.Subscribe, "gw.*."+string(c)+".>")
	}
	g.Subscribe = append(g.Subscribe, inboxAny+".>")
	return g
}
