package mdi

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/protocols/record"
)

// Receiver is what a far end remembers about its gateways: the records that have arrived, so that
// none is accepted twice, and their sessions. It is, together with its connections, not safe for
// concurrent use.
type Receiver struct {
	cfg      ReceiverConfig
	gateways map[string]*gateway
}

// ReceiverConfig configures a Receiver.
type ReceiverConfig struct {
	Window int // batches that a gateway may have under way; 1..64
	// Take stores new records of a gateway. It returns the reasons for records refused for ever, by
	// index; or an error if nothing can be stored, and then nothing of it has been.
	Take func(gateway string, records []record.Record) (refused map[int]string, err error)
	// Remember stores what was accepted for another life, before it is acknowledged; all returns
	// everything to be remembered. While it fails, nothing new is acknowledged. nil: another life
	// starts from scratch.
	Remember func(taken []Seen, all func() []Seen) error
}

type gateway struct {
	sessions []*session // the last one is the newest
	seen     map[string]*seenTrack
	conn     *ServerConn // the present connection
}

// session is the shared state of a gateway's process and the receiver.
type session struct {
	id       SessionID
	names    Names
	arrived  map[uint32]*sequences
	commands map[uint32]*Command // not answered
	next     uint32
}

const (
	maxSessions   = 4       // remembered per gateway
	maxGateways   = 1 << 16 // per receiver
	maxCommands   = 64      // unanswered, per session
	busySeconds   = 10      // until a gateway may try again
	lateKeepalive = 3       // intervals of silence after which a gateway counts as gone
	// firstKeepalive is the interval until the gateway has sent its own.
	firstKeepalive = 10 * time.Second
)

// NewReceiver returns a receiver without memory.
func NewReceiver(cfg ReceiverConfig) *Receiver {
	return &Receiver{cfg: cfg, gateways: map[string]*gateway{}}
}

// ServerConn is the receiver's side of one connection.
type ServerConn struct {
	r       *Receiver
	name    string
	gateway *gateway // nil: not open
	session *session
	over    bool
	welcome func(gateway string) error

	keepalive time.Duration
	heard     time.Time
}

type (
	// Evict says that another connection is to be closed with the reason Replaced.
	Evict struct{ *ServerConn }
	// Opens says which gateway has connected.
	Opens struct {
		Gateway string
		Resumed bool
	}
	// Answered is the outcome of a command.
	Answered struct{ *Answer }
	// Renumbered says that a track has started counting again; its earlier records are no longer
	// known.
	Renumbered struct{ Track string }
)

// Accept starts on a new connection. welcome returns why a gateway is not admitted; nil: all are.
func (r *Receiver) Accept(now time.Time, welcome func(gateway string) error) *ServerConn {
	return &ServerConn{r: r, welcome: welcome, heard: now, keepalive: firstKeepalive}
}

// Gateway returns the name of the connected gateway; empty before Open.
func (s *ServerConn) Gateway() string { return s.name }

// Next returns when to call Tick.
func (s *ServerConn) Next() time.Time { return s.heard.Add(lateKeepalive * s.keepalive) }

// Tick ends a connection that has been silent for too long.
func (s *ServerConn) Tick(now time.Time) []Effect {
	if s.over || now.Before(s.Next()) {
		return nil
	}
	return s.end(nil, fmt.Errorf("nothing received for %s", now.Sub(s.heard).Round(time.Second)))
}

// End closes the connection with a Close message.
func (s *ServerConn) End(reason Reason, text string) []Effect {
	if s.over {
		return nil
	}
	m := &Close{Reason: reason, Text: text}
	if reason == Busy {
		m.Again = new(uint16)
		*m.Again = busySeconds
	}
	return s.end([]Effect{encoded(m)}, fmt.Errorf("%s: %s", reason, text))
}

// Lost handles the end of a connection.
func (s *ServerConn) Lost() {
	s.over = true
	if s.gateway != nil && s.gateway.conn == s {
		s.gateway.conn = nil
	}
}

func (s *ServerConn) end(all []Effect, err error) []Effect {
	s.Lost()
	return append(all, Over{err})
}

// encoded encodes our own message, which is always valid.
func encoded(m Message) Send {
	b, err := Encode(m)
	if err != nil {
		b, _ = Encode(&Close{Reason: Busy})
	}
	return Send(b)
}

// Receive handles a message.
func (s *ServerConn) Receive(now time.Time, m Message) []Effect {
	if s.over {
		return nil
	}
	s.heard = now
	if m, ok := m.(*Open); ok && s.gateway == nil {
		return s.open(m)
	}
	if m, ok := m.(*Close); ok {
		return s.end(nil, fmt.Errorf("closed by the gateway: %s %s", m.Reason, m.Text))
	}
	if s.gateway == nil {
		return s.End(Failed, fmt.Sprintf("%T before Open", m))
	}
	switch m := m.(type) {
	case *Keepalive:
		if m.Answer {
			return nil
		}
		return []Effect{encoded(&Keepalive{Answer: true})}
	case *Track:
		if err := s.session.names.Track(m); err != nil {
			return s.End(Failed, err.Error())
		}
		return nil
	case *Boot:
		s.session.names.Boot(m)
		return nil
	case *Batch:
		return s.batch(m)
	case *Answer:
		if _, waits := s.session.commands[m.ID]; !waits {
			return nil
		}
		delete(s.session.commands, m.ID)
		return []Effect{Answered{m}}
	}
	return s.End(Failed, fmt.Sprintf("%T is sent by receivers only, or was repeated", m))
}

func (s *ServerConn) open(m *Open) []Effect {
	if s.welcome != nil {
		if err := s.welcome(m.Gateway); err != nil {
			return s.End(Refused, err.Error())
		}
	}
	g := s.r.gateways[m.Gateway]
	if g == nil && len(s.r.gateways) == maxGateways {
		return s.End(Busy, "too many gateways are connected")
	}
	if g == nil {
		g = &gateway{seen: map[string]*seenTrack{}}
		s.r.gateways[m.Gateway] = g
	}
	var all []Effect
	if g.conn != nil {
		all = append(all, Evict{g.conn})
	}
	var resumed bool
	s.session, resumed = g.session(m.Session)
	s.name, s.gateway, g.conn = m.Gateway, g, s
	s.keepalive = time.Duration(m.Keepalive) * time.Second
	answer := &Opened{Version: Version, Resumed: resumed, Window: uint8(min(max(s.r.cfg.Window, 1), 64))}
	if resumed {
		answer.Settled = s.session.known(m.Unsettled)
	}
	all = append(all, Opens{m.Gateway, resumed}, encoded(answer))
	ids := make([]uint32, 0, len(s.session.commands))
	for id := range s.session.commands {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		all = append(all, encoded(s.session.commands[id]))
	}
	return all
}

// session returns the session with that id, and whether it was known.
func (g *gateway) session(id SessionID) (*session, bool) {
	if at := slices.IndexFunc(g.sessions, func(s *session) bool { return s.id == id }); at >= 0 {
		return g.sessions[at], true
	}
	fresh := &session{id: id, arrived: map[uint32]*sequences{}, commands: map[uint32]*Command{}}
	g.sessions = append(g.sessions, fresh)
	g.sessions = g.sessions[max(0, len(g.sessions)-maxSessions):]
	return fresh, false
}

// known returns the parts of these ranges that have arrived in the session.
func (s *session) known(asked []Range) []Range {
	var all []Range
	for _, r := range asked {
		if arrived := s.arrived[r.Track]; arrived != nil {
			for _, p := range arrived.within(r.First, r.First+uint64(r.More)) {
				all = append(all, Range{r.Track, p.first, uint16(p.last - p.first)})
			}
		}
	}
	return all[:min(len(all), maxRanges)]
}

// batch accepts the new records and acknowledges all.
func (s *ServerConn) batch(m *Batch) []Effect {
	records, err := s.session.names.Unpack(m)
	if err != nil {
		return s.End(Failed, err.Error())
	}
	if len(s.gateway.seen) > maxTracks {
		return s.End(Failed, fmt.Sprintf("more than %d tracks", maxTracks))
	}
	var all []Effect
	var fresh []record.Record
	once, renumbered := map[recordID]bool{}, map[string]bool{}
	for _, r := range records {
		known, again := s.gateway.knows(r)
		if again {
			all = append(all, Renumbered{r.Track})
			renumbered[r.Track] = true
		}
		if !known && !once[idOf(r)] {
			once[idOf(r)] = true
			fresh = append(fresh, r)
		}
	}
	var refused map[int]string
	if len(fresh) > 0 {
		if refused, err = s.r.cfg.Take(s.name, fresh); err != nil {
			return append(all, s.End(Busy, err.Error())...)
		}
	}
	answer := &Acknowledge{}
	no := map[recordID]bool{}
	var notes []Seen
	for i, r := range fresh {
		if why, is := refused[i]; is {
			no[idOf(r)] = true
			answer.Refused = append(answer.Refused, Refusal{r.Number, r.Sequence, brief(errors.New(why))})
			continue
		}
		s.gateway.note(r)
		notes = seenToo(notes, s.name, r, renumbered[r.Track])
		delete(renumbered, r.Track)
	}
	if s.r.cfg.Remember != nil && len(notes) > 0 {
		if err := s.r.cfg.Remember(notes, s.r.Seen); err != nil {
			return append(all, s.End(Busy, err.Error())...)
		}
	}
	taken := map[recordID]bool{}
	for _, r := range records {
		if !no[idOf(r)] {
			taken[idOf(r)] = true
			s.session.note(r)
		}
	}
	answer.Settled = rangesOf(taken)
	return append(all, acknowledged(answer)...)
}

func (s *session) note(r record.Record) {
	a := s.arrived[r.Number]
	if a == nil {
		a = &sequences{}
		s.arrived[r.Number] = a
	}
	a.add(r.Sequence)
}

// acknowledged returns an acknowledgement in as many messages as needed.
func acknowledged(m *Acknowledge) []Effect {
	const most = 50 // refusals with the longest reasons
	var all []Effect
	for len(m.Settled) > 0 || len(m.Refused) > 0 {
		settled, refused := min(len(m.Settled), maxRanges), min(len(m.Refused), most)
		all = append(all, encoded(&Acknowledge{m.Settled[:settled], m.Refused[:refused]}))
		m.Settled, m.Refused = m.Settled[settled:], m.Refused[refused:]
	}
	return all
}

// Command sends a command, and again at each resumption of the session until it is answered.
func (s *ServerConn) Command(actor, method string, payload []byte) (id uint32, effects []Effect, err error) {
	switch {
	case s.over || s.gateway == nil:
		return 0, nil, errors.New("the gateway is not connected")
	case len(s.session.commands) >= maxCommands:
		return 0, nil, fmt.Errorf("%d commands are waiting for their answers", maxCommands)
	}
	m := &Command{s.session.next, actor, method, payload}
	b, err := Encode(m)
	if err != nil {
		return 0, nil, err
	}
	s.session.commands[m.ID] = m
	s.session.next++
	return m.ID, []Effect{Send(b)}, nil
}
