package modbusunit

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// own is the leaf of the points that go by the unit's own rhythm.
const own = "points"

// group is points that are read and published together.
type group struct {
	name   string
	every  time.Duration
	config []*modbusv1.Point
	points []points.Point
	limits points.Limits
	key    string // of its polls on the link

	reads    []points.Read // as planned, and then as the unit bears them
	requests []modbus.Request
	split    bool // a read was cut because the unit refused it

	samples *samplev1.Samples // the last that was published, in the order of the config
	read    []good            // when each point was last good
	busy    bool              // a scan is under way
	extra   bool              // it began between two slots; it is good for the next one
	trouble string            // why the last scan was not all good
}

// layout makes the groups that a config describes. Groups of before that mean
// the same stay as they are.
func layout(cfg *modbusv1.Unit, path string, before []*group) ([]*group, error) {
	groups := []*group{{name: own, every: cfg.Every.AsDuration()}}
	for _, g := range cfg.Groups {
		if g.Name == own {
			return nil, fmt.Errorf("a scan group cannot be called %q: points without a group are published under this name", own)
		}
		groups = append(groups, &group{name: g.Name, every: g.Every.AsDuration()})
	}
	for _, p := range cfg.Points {
		name := p.Group
		if name == "" {
			name = own
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("point %s: there is no scan group %q", p.Name, name)
		}
		groups[i].config = append(groups[i].config, p)
	}
	groups = slices.DeleteFunc(groups, func(g *group) bool { return len(g.config) == 0 })
	for i, g := range groups {
		g.key = path + " " + g.name
		g.limits = points.Limits{MaxRegisters: int(cfg.MaxRegisters), MaxBits: int(cfg.MaxBits), Gap: int(cfg.Gap)}
		if err := g.plan(cfg.Unit); err != nil {
			return nil, err
		}
		if old := named(before, g.name); old != nil {
			groups[i] = g.succeed(old)
		}
	}
	return groups, nil
}

func named(groups []*group, name string) *group {
	for _, g := range groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// plan decides which reads bring the group's points.
func (g *group) plan(unit uint32) error {
	g.points = make([]points.Point, len(g.config))
	for i, p := range g.config {
		g.points[i] = pointOf(p)
		if err := g.points[i].Check(); err != nil {
			return err
		}
	}
	reads, err := points.Plan(g.points, g.limits)
	if err != nil {
		return err
	}
	g.reads, g.split = reads, false
	g.request(uint8(unit))
	if g.samples == nil {
		g.blank()
	}
	return nil
}

var functions = map[string]uint8{
	points.Coil: modbus.ReadCoils, points.DiscreteInput: modbus.ReadDiscreteInputs,
	points.Holding: modbus.ReadHoldingRegisters, points.Input: modbus.ReadInputRegisters,
}

func (g *group) request(unit uint8) {
	g.requests = make([]modbus.Request, len(g.reads))
	for i, r := range g.reads {
		g.requests[i] = modbus.Request{Unit: unit, Function: functions[r.Area], Address: r.Address, Quantity: r.Quantity}
	}
}

// blank makes samples of points that have never been read.
func (g *group) blank() {
	g.read = make([]good, len(g.points))
	g.samples = &samplev1.Samples{Samples: make([]*samplev1.Sample, len(g.points))}
	for i := range g.points {
		g.samples.Samples[i] = &samplev1.Sample{Point: g.points[i].Name}
	}
}

// succeed is g after old: old itself if they mean the same, else g with what
// old knew of the points that have stayed.
func (g *group) succeed(old *group) *group {
	same := len(g.config) == len(old.config) && g.limits.MaxRegisters == old.limits.MaxRegisters && g.limits.MaxBits == old.limits.MaxBits &&
		g.limits.Gap == old.limits.Gap && g.requests[0].Unit == old.requests[0].Unit
	for i := 0; same && i < len(g.config); i++ {
		same = proto.Equal(g.config[i], old.config[i])
	}
	if same {
		old.every = g.every
		return old
	}
	for i, p := range g.config {
		k := slices.IndexFunc(old.config, func(q *modbusv1.Point) bool { return proto.Equal(p, q) })
		if k >= 0 {
			g.samples.Samples[i], g.read[i] = old.samples.Samples[k], old.read[k]
		}
	}
	return g
}

func pointOf(p *modbusv1.Point) points.Point {
	q := points.Point{
		Name: p.Name, Area: p.Area, Address: uint16(p.Address), Type: p.Type, Order: p.Order,
		Length: int(p.Length), Scale: p.Scale, Offset: p.Offset, Unit: p.Unit,
	}
	if q.Area == "" {
		q.Area = points.Holding
	}
	if q.Type == "" {
		q.Type = points.Uint16
	}
	if q.Bits() {
		q.Type = points.Bool
	}
	if p.Bit != nil {
		bit := int(*p.Bit)
		q.Bit = &bit
	}
	return q
}
