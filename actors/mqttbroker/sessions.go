package mqttbroker

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// sessions are the clients for which the broker holds any state.
type sessions struct {
	kind  *actors.Kind
	all   map[string]*place // by client id
	taken map[int]struct{}  // numbers in use
	last  int
	early []early // clients that connected before the broker knew its own listener
}

// place is one session as the broker sees it.
type place struct {
	child  *actors.Child
	number int
	ci     *mqtt.ClientInfo // of the latest connection
	of     *mqttv1.Session
	calls  mqtt.Calls
}

type (
	arrival struct{ ci *mqtt.ClientInfo }
	early   struct {
		req *actors.Request
		ci  *mqtt.ClientInfo
	}
	departure struct {
		ci   *mqtt.ClientInfo
		kept bool
	}
)

// arrive gives a connecting client its session actor.
func (b *broker) arrive(c *actors.Context, m *arrival) {
	if b.server == nil {
		b.sessions.early = append(b.sessions.early, early{c.Take(), m.ci})
		return
	}
	p, err := b.settle(c, m.ci)
	if err != nil {
		c.Refuse(err)
		return
	}
	c.Reply(&clientSession{p.child, &p.calls})
}

// recall creates actors for the sessions stored by an earlier process.
func (b *broker) recall(c *actors.Context) {
	for _, ci := range b.server.Absent() {
		p, err := b.settle(c, &ci)
		if err != nil {
			c.Log().Warn("a stored session has no actor", "client", ci.ID, "err", err)
			continue
		}
		p.child.Tell(away{})
	}
}

// receive accepts the clients that connected early.
func (b *broker) receive(c *actors.Context) {
	for _, e := range b.sessions.early {
		if p, err := b.settle(c, e.ci); err != nil {
			e.req.Refuse(err)
		} else {
			e.req.Reply(&clientSession{p.child, &p.calls})
		}
	}
	b.sessions.early = nil
}

// settle returns the session of a client; if there is none, it creates one.
func (b *broker) settle(c *actors.Context, ci *mqtt.ClientInfo) (*place, error) {
	p := b.sessions.all[ci.ID]
	if p == nil {
		p = &place{number: b.sessions.number(), of: of(ci)}
		var err error
		about := "client " + ci.ID
		if p.child, err = c.Spawn(fmt.Sprint("session-", p.number), b.sessions.kind, p.of, about); err != nil {
			return nil, err
		}
		b.sessions.all[ci.ID], b.sessions.taken[p.number] = p, struct{}{}
	}
	if p.ci != nil {
		p.of = of(ci)
	}
	p.ci = ci
	p.child.Tell(attached{ci, p.of, &p.calls})
	return p, nil
}

// number returns the next free number. Numbers are reused, so that clients that come and go for
// years do not use up more numbers than were ever in use at once. A number is reused as late as
// possible, because people note the name of a session in order to end it.
func (s *sessions) number() int {
	round := max(1024, 2*len(s.all)+2)
	for {
		if s.last++; s.last > round {
			s.last = 1
		}
		if _, taken := s.taken[s.last]; !taken {
			return s.last
		}
	}
}

// depart handles the end of a connection or a session.
func (b *broker) depart(c *actors.Context, m departure) {
	p := b.sessions.all[m.ci.ID]
	switch {
	case p == nil || !p.ci.Same(*m.ci): // the client has connected again
	case m.kept:
		p.child.Tell(away{})
	default:
		b.sessions.drop(p)
		c.Dismiss(p.child)
	}
}

func (s *sessions) drop(p *place) {
	delete(s.all, p.ci.ID)
	delete(s.taken, p.number)
}

// crashed disconnects the client whose session actor has failed.
func (b *broker) crashed(c *actors.Context, m actors.Ended) {
	for _, p := range b.sessions.all {
		if p.child == m.Child {
			c.Log().Warn("a session has failed; its client is disconnected", "session", m.Child.Path(), "client", p.ci.ID, "err", m.Err)
			b.sessions.drop(p)
			b.server.Cut(*p.ci)
			return
		}
	}
}

// reconcile ends sessions whose end was not reported because the mailbox was full.
func (b *broker) reconcile(c *actors.Context) {
	for _, p := range b.sessions.all {
		if !b.server.Present(*p.ci) {
			b.sessions.drop(p)
			c.Dismiss(p.child)
		}
	}
}

// listSessions answers with the matching sessions, one after the other.
func (b *broker) listSessions(c *actors.Context, m *mqttv1.SessionsRequest) {
	l := &listing{shared: b.shared}
	for _, p := range b.sessions.all {
		if (m.ClientId == "" || m.ClientId == p.ci.ID) && (m.Identity == "" || m.Identity == p.of.Identity) {
			l.left = append(l.left, entry{p.child.Path(), p.of, p.ci, &p.calls})
		}
	}
	slices.SortFunc(l.left, func(a, b entry) int { return strings.Compare(a.ci.ID, b.ci.ID) })
	c.Stream(l)
}

// entry is a place at one moment.
type entry struct {
	path  string
	of    *mqttv1.Session
	ci    *mqtt.ClientInfo
	calls *mqtt.Calls
}

// listing is the answer under way.
type listing struct {
	*shared
	left []entry
}

// Next implements actors.Source.
func (l *listing) Next(context.Context) (proto.Message, error) {
	if len(l.left) == 0 {
		return nil, io.EOF
	}
	p := l.left[0]
	l.left = l.left[1:]
	return &mqttv1.SessionsResponse{Status: l.status(p.path, p.of, *p.ci, p.calls)}, nil
}

// Close implements actors.Source.
func (l *listing) Close() error { return nil }

// disconnect ends the sessions that the request names.
func (b *broker) disconnect(c *actors.Context, m *mqttv1.DisconnectClientsRequest) {
	if m.ClientId == "" && m.Identity == "" {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "set client-id or identity"))
		return
	}
	cut := &mqttv1.Cut{Identity: m.Identity, Cause: "disconnected by " + c.Caller().Identity}
	for _, p := range b.sessions.all {
		if (m.ClientId == "" || m.ClientId == p.ci.ID) && (m.Identity == "" || m.Identity == p.of.Identity) && b.server.Cut(*p.ci) {
			cut.Clients = append(cut.Clients, p.ci.ID)
		}
	}
	slices.Sort(cut.Clients)
	if len(cut.Clients) > 0 {
		c.Event("cut", cut)
	}
	c.Reply(&mqttv1.DisconnectClientsResponse{Clients: cut.Clients})
}
