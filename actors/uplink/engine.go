// Package uplink is the common part of the uplink kinds; it is no kind itself. It reads the tracks
// from its own position in the store, sends the records that its rules select in batches, and
// acknowledges to the store what the far end has acknowledged. It does so for ever, whatever fails
// in between. A kind adds its config and a far.Dial.
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

// Config is the config of an uplink kind. It may also have a method GetCommands if its far end can
// send commands.
type Config interface {
	proto.Message
	GetSend() *uplinkv1.Sending
}

type commander interface{ GetCommands() *uplinkv1.Commands }

// Instance identifies the uplink.
type Instance struct {
	Gateway string
	Path    string          // of the actor
	Notes   actors.Notebook // for use in workers only; unusable in a check of the config
}

// Far describes a far end as configured.
type Far struct {
	Where string // address for display, without secrets
	Dial  far.Dial
	// Limit is how long Dial may take; 0: 30 s.
	Limit time.Duration
	// Watch is the interval at which the uplink checks itself and publishes its status; 0: 5 s.
	Watch time.Duration
	// Carries is far.Table.Carries. A record of which nothing is sent is left out, since "sending"
	// it would prove nothing about the far end.
	Carries func(record.Record) bool
}

// Define completes an uplink kind. The kind needs a name and a doc. reach returns the far end
// described by a config, or says what is wrong with the config; it does no I/O.
func Define[C Config](k actors.Kind, reach func(who Instance, cfg C) (Far, error)) actors.Kind {
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
		found := append(unknownUsers[C](all), unmatchedTracks[C](all)...)
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
			_, err = reach(Instance{Gateway: "gateway", Path: "uplink"}, cfg)
			all = append(all, schemas.Wrong("", err)...)
		}
		return all
	}
	return actors.Define(k, func(cfg C) actors.Actor {
		return &engine{config: cfg, reach: func(who Instance, cfg Config) (Far, error) { return reach(who, cfg.(C)) }}
	})
}

// Services returns the services that every uplink kind implements, for lists of services.
func Services() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{actors.Service(uplinkv1.File_uplink_v1_uplink_proto, "UplinkService")}
}

// engine is one uplink. It reads from the store, connects and sends in workers, at most one of each
// at a time.
type engine struct {
	config Config
	reach  func(Instance, Config) (Far, error)
	far    Far
	settings

	reader      *actors.Reader // nil: not open
	reading     bool           // a worker opens the reader or waits for messages
	looked      bool           // the first attempt to open the reader has ended
	main        lane           // records from the read position
	settled     uint64         // store sequence of the newest message of main that is complete
	stopWaiting func()         // ends the wait for messages
	ahead

	line
	load
	tally
	account
	commandState
}

// settings is a config in the form the engine uses.
type settings struct {
	cfg      *uplinkv1.Sending
	allow    []string // topic filters of allowed commands
	user     string   // user on whose behalf commands run; empty: the uplink itself
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
		return s, fmt.Errorf("crawl: %d B/s must not exceed slow, %d B/s", s.cfg.Crawl, s.cfg.Slow)
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

// defaultWatch is the default of Far.Watch.
const defaultWatch = 5 * time.Second

type look struct{}

func (e *engine) watch() time.Duration { return cmp.Or(e.far.Watch, defaultWatch) }

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
	case actors.Failed: // a panic in a worker; every other failure arrives as a message of its own
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

// hear handles messages of workers and the far end. It returns false if the message cannot have
// changed what is to be done.
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
		e.far, err = e.reach(Instance{c.Gateway(), c.Name(), c.Notebook()}, e.config)
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

// next starts whatever can be done now. It may be called at any time.
func (e *engine) next(c *actors.Context) {
	if e.gone != nil && e.sender != nil && !e.sending { // a batch under way reports its outcome first
		e.over(c, e.gone)
	}
	e.read(c)
	e.precede(c)
	e.connect(c)
	e.send(c)
	if e.changed && !e.noting && e.limited() && e.spent.Hefty(e.limits, e.written) {
		e.note(c) // or a power cut would grant it again
	}
	e.tell(c)
}

// reconfigure applies a config. A batch under way is finished under the old one.
func (e *engine) reconfigure(c *actors.Context, config Config) error {
	s, err := settingsOf(config)
	if err != nil {
		return actors.Broken(err)
	}
	f, err := e.reach(Instance{c.Gateway(), c.Name(), c.Notebook()}, config)
	if err != nil {
		return actors.Broken(err)
	}
	if !proto.Equal(rest(e.config), rest(config)) {
		e.stale, e.failures, e.tryAt = true, 0, time.Time{}
	}
	if !proto.Equal(&uplinkv1.Sending{Tracks: e.cfg.Tracks}, &uplinkv1.Sending{Tracks: s.cfg.Tracks}) {
		e.reopen = true
		if e.stopWaiting != nil {
			e.stopWaiting()
		}
	}
	e.config, e.far, e.settings, e.good = config, f, s, record.Record{}
	e.table.Carries = f.Carries
	e.endSearch()
	e.reportUnknown(c)
	return nil
}

// rest returns a config without the keys that all kinds share: the part that a connection depends
// on.
func rest(config Config) proto.Message {
	m := proto.Clone(config)
	for _, name := range []protoreflect.Name{"send", "commands"} {
		if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f != nil {
			m.ProtoReflect().Clear(f)
		}
	}
	return m
}

// look does what depends on time alone.
func (e *engine) look(c *actors.Context) {
	e.measureRate(c)
	e.reportSilence(c)
	e.note(c)
}
