// Package uplink is what the kinds of uplinks have in common, and no kind itself: it reads the tracks from its own place in the store,
// sends what its rules pick in batches, and acknowledges to the store what the far end has acknowledged, for ever and whatever
// happens in between. A kind adds its config and a far.Dial.
package uplink

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Config is the config of a kind of uplink. It may also have a GetCommands, if its far end can send any.
type Config interface {
	proto.Message
	GetSend() *uplinkv1.Sending
}

type commander interface{ GetCommands() *uplinkv1.Commands }

// Who is the uplink that sends.
type Who struct {
	Gateway string
	Path    string          // of the actor
	Notes   actors.Notebook // for workers only; of no use in a check of the config
}

// Far is a far end as a config describes it.
type Far struct {
	Where string // for people, without secrets
	Dial  far.Dial
	// Limit is how long Dial may take; 0: 30 s.
	Limit time.Duration
	// Watch is how often the uplink looks after itself and tells how it is; 0: each 5 s.
	Watch time.Duration
	// Carries is that of far.Table. A record without anything to send is left out: that it was "sent" would show nothing about the far end.
	Carries func(record.Record) bool
}

// Define completes a kind of uplink. It needs a name and a doc; reach makes the far end of a config, or says what is wrong
// with it, and does no I/O.
func Define[C Config](k actors.Kind, reach func(who Who, cfg C) (Far, error)) actors.Kind {
	k.Services = append(k.Services, actors.Service(uplinkv1.File_uplink_v1_uplink_proto, "UplinkService"))
	k.Publishes = append(k.Publishes,
		actors.Leaf{Class: "state", Leaf: "uplink", Message: &uplinkv1.Status{}},
		actors.Leaf{Class: "event", Leaf: "rejected", Message: &uplinkv1.Rejected{}},
		actors.Leaf{Class: "event", Leaf: "gap", Message: &uplinkv1.Gap{}},
		actors.Leaf{Class: "event", Leaf: "silent", Message: &uplinkv1.Silent{}},
		actors.Leaf{Class: "event", Leaf: "commanded", Message: &uplinkv1.Commanded{}},
	)
	k.Live, k.Place = true, true
	beside := k.Beside
	k.Beside = func(all []schemas.Actor) []schemas.Finding {
		found := append(strangers[C](all), unheard[C](all)...)
		if beside != nil {
			found = append(found, beside(all)...)
		}
		return found
	}
	own := k.Check
	k.Check = func(config proto.Message) []schemas.Violation {
		cfg := config.(C)
		_, err := settingsOf(cfg)
		all := append(schemas.Wrong("send", err), schemas.Wrong("send.tracks", actors.CheckTracks(cfg.GetSend().GetTracks()))...)
		if own != nil {
			all = append(all, own(config)...)
		}
		if len(all) == 0 {
			_, err = reach(Who{Gateway: "gateway", Path: "uplink"}, cfg)
			all = append(all, schemas.Wrong("", err)...)
		}
		return all
	}
	return actors.Define(k, func(cfg C) actors.Actor {
		return &engine{config: cfg, reach: func(who Who, cfg Config) (Far, error) { return reach(who, cfg.(C)) }}
	})
}

// Services is what every kind of uplink answers; it is here for those who list them.
func Services() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{actors.Service(uplinkv1.File_uplink_v1_uplink_proto, "UplinkService")}
}

// engine is one uplink. All it does is one of three things at a time each, in workers: read from the store, connect, and send.
type engine struct {
	config Config
	reach  func(Who, Config) (Far, error)
	far    Far
	settings

	reader  *actors.Reader // nil: not open
	reading bool           // a worker opens it or waits for messages
	looked  bool           // it has been tried to open it
	main    lane           // what the place in the tracks has come to
	settled uint64         // sequence in the store of the newest message of it that is done with
	rouse   func()         // ends the wait for messages
	ahead

	line
	load
	tally
	account
	voice
}

// settings are a config in the form in which it is used.
type settings struct {
	cfg      *uplinkv1.Sending
	allow    []string // topics of commands
	user     string   // on whose behalf they are carried out; empty: the uplink's own
	patience time.Duration
	table    *far.Table
	hours    far.Hours
	limits   far.Limits
	portions far.Portions
}

func settingsOf(config Config) (s settings, err error) {
	s.cfg = config.GetSend()
	if s.cfg == nil {
		s.cfg = &uplinkv1.Sending{}
		schemas.Defaults(s.cfg)
	}
	var rules []far.Rule
	for _, r := range s.cfg.Rules {
		one := far.Rule{
			Tracks: r.Tracks, Fields: r.Fields, Rename: r.Rename, Unit: r.Unit, Scale: r.Scale, Offset: r.Offset,
			Redact: far.Redact(r.Redact), Low: r.Low, High: r.High, Precision: decimals(r.Precision), SlowPrecision: decimals(r.SlowPrecision),
		}
		rules = append(rules, one)
	}
	s.table, err = far.NewTable(rules, s.cfg.Salt)
	if err != nil {
		return s, err
	}
	if s.hours, err = far.ParseHours(s.cfg.Quiet); err != nil {
		return s, fmt.Errorf("quiet: %w", err)
	}
	if b := s.cfg.Budget; b != nil {
		s.limits = far.Limits{
			HourBytes: b.HourBytes, HourRecords: b.HourRecords, MonthBytes: b.MonthBytes, MonthRecords: b.MonthRecords, Billing: int(b.BillingDay),
		}
	}
	s.portions = far.Portions{
		Records: int(s.cfg.BatchRecords), Bytes: int(s.cfg.BatchBytes), Flush: s.cfg.Flush.AsDuration(),
		Slow: float64(s.cfg.Slow), Crawl: float64(s.cfg.Crawl),
	}
	if s.cfg.Crawl > 0 && s.cfg.Crawl > s.cfg.Slow {
		return s, fmt.Errorf("crawl: %d B/s is more than slow, which is %d B/s", s.cfg.Crawl, s.cfg.Slow)
	}
	if with, ok := config.(commander); ok {
		cmd := with.GetCommands()
		s.allow, s.user, s.patience = cmd.GetAllow(), cmd.GetUser(), cmd.GetTimeout().AsDuration()
	}
	if s.patience == 0 {
		s.patience = 10 * time.Second
	}
	return s, nil
}

func decimals(n *int32) *int {
	if n == nil {
		return nil
	}
	d := int(*n)
	return &d
}

// usualWatch is how often an uplink looks after itself.
const usualWatch = 5 * time.Second

type look struct{}

func (e *engine) watch() time.Duration { return cmp.Or(e.far.Watch, usualWatch) }

// Receive implements actors.Actor.
func (e *engine) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		if err := e.start(c); err != nil {
			return err
		}
	case actors.Reconfigured:
		if err := e.reconfigure(c, m.Config.(Config)); err != nil {
			return err
		}
	case actors.Failed: // a panic in a worker: nothing else fails without saying of what
		return m.Err
	case *uplinkv1.StatusRequest:
		e.told(c)
		return nil
	case asked:
		e.reply(c, m)
		return nil
	case look:
		e.look(c)
	default:
		if !e.hear(c, msg) {
			return nil
		}
	}
	e.next(c)
	return nil
}

// hear takes what workers and the far end say; false: the rest need not be looked at.
func (e *engine) hear(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case opened:
		e.opened(c, m)
	case took:
		e.took(c, m)
	case ended:
		e.ended(c, m)
	case peeked:
		e.peeked(c, m)
	case connected:
		e.connected(c, m)
	case lost:
		if m.number == e.number {
			e.gone = m.err
		}
	case awaits:
		e.waits(c, m)
	case sent:
		e.done(c, m)
	case scouted:
		e.scouted(c, m)
	case again, flush:
	case measured:
		e.measured(c, m)
	case actors.Recalled:
		e.recalled(c, m)
	case actors.Noted:
		e.noted(c, m)
	case command:
		e.command(c, m)
	case actors.Called:
		e.called(c, m)
	default:
		return false
	}
	return true
}

func (e *engine) start(c *actors.Context) error {
	var err error
	if e.settings, err = settingsOf(e.config); err == nil {
		e.far, err = e.reach(Who{c.Gateway(), c.Name(), c.Notebook()}, e.config)
	}
	if err != nil {
		return actors.Broken(err)
	}
	e.table.Carries = e.far.Carries
	e.began = time.Now()
	e.owing = e.began
	e.recall(c)
	c.Every(e.watch(), look{})
	return nil
}

// next does what can be done now. It may be called at any time.
func (e *engine) next(c *actors.Context) {
	if e.gone != nil && e.sender != nil && !e.sending { // what is under way tells what has become of it first
		e.over(c, e.gone)
	}
	e.read(c)
	e.precede(c)
	e.connect(c)
	e.send(c)
	if e.changed && !e.noting && e.limited() && e.spent.Hefty(e.limits, e.written) {
		e.note(c) // a power cut is not to grant it again
	}
	e.tell(c)
}

// reconfigure takes over a config. What is under way ends by the old one.
func (e *engine) reconfigure(c *actors.Context, config Config) error {
	s, err := settingsOf(config)
	if err != nil {
		return actors.Broken(err)
	}
	f, err := e.reach(Who{c.Gateway(), c.Name(), c.Notebook()}, config)
	if err != nil {
		return actors.Broken(err)
	}
	if !proto.Equal(rest(e.config), rest(config)) {
		e.stale, e.failures, e.tryAt = true, 0, time.Time{}
	}
	if !proto.Equal(&uplinkv1.Sending{Tracks: e.cfg.Tracks}, &uplinkv1.Sending{Tracks: s.cfg.Tracks}) {
		e.reopen = true
		if e.rouse != nil {
			e.rouse()
		}
	}
	e.config, e.far, e.settings, e.good = config, f, s, record.Record{}
	e.table.Carries = f.Carries
	e.calm()
	e.wonder(c)
	return nil
}

// rest is a config without what is the same for all kinds: what a connection depends on.
func rest(config Config) proto.Message {
	m := proto.Clone(config)
	for _, name := range []protoreflect.Name{"send", "commands"} {
		if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f != nil {
			m.ProtoReflect().Clear(f)
		}
	}
	return m
}

// look is for what depends on the time alone.
func (e *engine) look(c *actors.Context) {
	e.gauge(c)
	e.grumble(c)
	e.note(c)
}
