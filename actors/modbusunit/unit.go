// Package modbusunit is the kind for one Modbus unit. It reads the unit's points at fixed intervals
// through a line or link, publishes them with their quality and cause, and carries out commands. A
// silent unit is no failure of the actor; it shows in its health.
package modbusunit

import (
	"hash/fnv"
	"slices"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// Kind is the kind modbus-unit.
var Kind = kind()

func kind() actors.Kind {
	common := &shared{}
	return actors.Define(actors.Kind{
		Name:     "modbus-unit",
		Doc:      "Polls one Modbus unit, publishes its points with their quality, and writes to it on command.",
		Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "UnitService")},
		Publishes: []actors.Leaf{
			{Class: "data", Leaf: "*", Message: &samplev1.Samples{}},
			{Class: "event", Leaf: "audited", Message: &modbusv1.Audited{}},
			{Class: "event", Leaf: "failed", Message: &modbusv1.Failed{}},
		},
		Live:     true,
		Complete: complete,
		Check:    check,
		Beside:   beside,
		Notes:    notes,
	}, func(cfg *modbusv1.Unit) actors.Actor {
		return &unit{cfg: cfg, shared: common, epoch: time.Now()}
	})
}

type unit struct {
	cfg     *modbusv1.Unit
	shared  *shared
	epoch   time.Time
	groups  []*group
	counts  map[string]uint64 // last sequence of former groups, by name
	paces   []*pace
	breaker schedule.Breaker
	probing bool
	unmask  bool // the unit does not know function 22
	merging bool // a merge is under way
	gate    modbusdoor.Gate
	asks    *budget.Unit // cached load on the link; nil: must be computed again

	why    string        // why the last transaction without a valid answer had none
	down   string        // why the link carries nothing; empty: it works
	silent string        // since when the unit is unreachable, and why
	until  time.Duration // end of the quarantine named in words
	words  string

	ill          string // the state of the last complaint; empty: the unit is well
	eventLimiter dispatch.EventLimiter
}

// pace is the ticker of a group.
type pace struct {
	group string
	timer *actors.Timer
	every time.Duration
	began bool // the first tick has passed, which comes at once and not on the grid
}

// tick is the start of a slot of a group.
type tick struct{ group string }

// probe is the Tag of an Ask that checks whether a silent unit is back.
type probe struct {
	link string
	unit uint32
}

// then is the Tag of a command's Ask: it handles the result.
type then = modbusdoor.Then

func (u *unit) now() time.Duration { return time.Since(u.epoch) }

func (u *unit) Receive(c *actors.Context, msg any) error {
	if _, last := msg.(actors.Stopped); last {
		c.Tell(u.cfg.Link, dispatch.Leave{Unit: c.Name()})
	}
	if u.atGate(c, msg) {
		return nil
	}
	switch m := msg.(type) {
	case actors.Started:
		return u.start(c)
	case tick:
		u.tick(c, m.group)
	case held:
		m.then(c)
	case dispatch.ShedNotice:
		u.shed(c, m)
	case *dispatch.Answer:
		u.gate.Tap = m.Tap
		u.answered(c, m)
		if g, ok := m.Ask.Tag.(*group); ok {
			g.spare = m.Ask
		}
	case *modbusv1.UnitServiceCountersRequest:
		u.askTally(c)
	case dispatch.Tally:
		u.tallied(c, m)
	case actors.Failed:
		switch of := m.Of.(type) {
		case *dispatch.Ask:
			u.answered(c, lost(of, m.Err))
		case *dispatch.TallyUnit:
			c.Refuse(m.Err)
		}
	case actors.Reconfigured:
		return u.reconfigure(c, m.Config.(*modbusv1.Unit))
	default:
		u.command(c, msg)
	}
	return nil
}

func (u *unit) start(c *actors.Context) error {
	groups, err := u.layout(u.cfg, c.Name(), nil)
	if err != nil {
		return actors.Broken(err)
	}
	u.groups = groups
	u.breaker = schedule.NewBreaker(u.patient(c.Name()))
	u.retime(c)
	u.tellPlace(c)
	u.idle(c)
	return nil
}

// idle reports a unit without points, which is only used by calls, as ok.
func (u *unit) idle(c *actors.Context) {
	if len(u.groups) == 0 {
		c.OK()
	}
}

// shortest is the lower bound of the timeout learned from a unit's answers, unless the configured
// timeout is shorter. The bound is raised to a quarter of the configured timeout or of the shortest
// interval, whichever is less, so that one slow answer of a unit that is usually fast does not lose
// a reading.
const shortest = 50 * time.Millisecond

// patient returns the settings of the unit's breaker as configured.
func (u *unit) patient(path string) schedule.BreakerConfig {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path))
	limit := u.cfg.Timeout.AsDuration()
	b := schedule.BreakerConfig{
		Failures: int(u.cfg.Tolerate), MaxTimeout: limit,
		Base: u.cfg.Every.AsDuration(), Cap: u.cfg.MaxBackoff.AsDuration(), Seed: h.Sum64(),
	}
	for _, g := range u.groups {
		b.Base = min(b.Base, g.every)
	}
	b.MinTimeout = min(limit, max(shortest, min(limit, b.Base)/4))
	b.Base = min(b.Base, b.Cap)
	return b
}

func (u *unit) reconfigure(c *actors.Context, cfg *modbusv1.Unit) error {
	known, other := u.groups, cfg.Link != u.cfg.Link || cfg.Unit != u.cfg.Unit
	if other {
		known = nil
	}
	groups, err := u.layout(cfg, c.Name(), known)
	if err != nil {
		return actors.Broken(err)
	}
	u.number(groups)
	if cfg.Link != u.cfg.Link {
		c.Tell(u.cfg.Link, dispatch.Leave{Unit: c.Name()})
	}
	u.cfg, u.groups, u.asks = cfg, groups, nil
	if other {
		u.breaker = schedule.NewBreaker(u.patient(c.Name()))
		u.probing, u.unmask, u.down = false, false, ""
	} else {
		u.breaker.Configure(u.patient(c.Name()), u.now())
	}
	u.retime(c)
	u.tellPlace(c)
	u.idle(c)
	return nil
}

// number lets groups continue the sequences of former groups of the same names.
func (u *unit) number(groups []*group) {
	if u.counts == nil {
		u.counts = map[string]uint64{}
	}
	for _, g := range u.groups {
		u.counts[g.name] = g.sequence
	}
	for _, g := range groups {
		g.sequence = u.counts[g.name]
	}
}

// retime keeps the tickers whose interval has not changed, so that no slot is lost.
func (u *unit) retime(c *actors.Context) {
	u.paces = slices.DeleteFunc(u.paces, func(p *pace) bool {
		g := named(u.groups, p.group)
		if g != nil && g.every == p.every {
			return false
		}
		p.timer.Stop()
		return true
	})
	for _, g := range u.groups {
		if u.pace(g.name) == nil {
			u.paces = append(u.paces, &pace{group: g.name, timer: c.Every(g.every, tick{g.name}), every: g.every})
		}
	}
}

// pace returns the ticker of a group; nil: it has none any more.
func (u *unit) pace(group string) *pace {
	for _, p := range u.paces {
		if p.group == group {
			return p
		}
	}
	return nil
}
