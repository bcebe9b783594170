package modbusunit

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// own is the leaf of the points that go by the unit's own rhythm.
const own = "points"

// group is points that are read and published together.
type group struct {
	*table
	name  string
	every time.Duration
	key   string // of its polls on the link

	reads    []points.Read // the table's, and then as the unit bears them
	requests []modbus.Request

	sequence uint64 // of the last samples published
	time     good   // of the last samples
	last     []last // of each point, in the order of the config
	poor     []poor // why points are not good; nil: they are
	busy     bool   // a scan is under way
	extra    bool   // it began between two slots; it is good for the next one
	split    bool   // a read was cut because the unit refused it
	trouble  string // why the last scan was not all good
}

// layout makes the groups that a config describes. Groups of before that mean
// the same stay as they are.
func (u *unit) layout(cfg *modbusv1.Unit, path string, before []*group) ([]*group, error) {
	groups := []*group{{name: own, every: cfg.Every.AsDuration()}}
	for _, g := range cfg.Groups {
		if g.Name == own {
			return nil, fmt.Errorf("a scan group cannot be called %q: points without a group are published under this name", own)
		}
		groups = append(groups, &group{name: g.Name, every: g.Every.AsDuration()})
	}
	members := make([][]*modbusv1.Point, len(groups))
	for _, p := range cfg.Points {
		name := p.Group
		if name == "" {
			name = own
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("point %s: there is no scan group %q", p.Name, name)
		}
		members[i] = append(members[i], p)
	}
	limits := points.Limits{MaxRegisters: int(cfg.MaxRegisters), MaxBits: int(cfg.MaxBits), Gap: int(cfg.Gap)}
	var made []*group
	for i, g := range groups {
		if len(members[i]) == 0 {
			continue
		}
		t, err := u.shared.table(members[i], limits)
		if err != nil {
			return nil, err
		}
		g.table, g.key, g.last = t, path+" "+g.name, make([]last, len(t.points))
		g.ask(t.reads, cfg.Unit)
		if old := named(before, g.name); old != nil {
			g = g.succeed(old)
		}
		made = append(made, g)
	}
	return made, nil
}

func named(groups []*group, name string) *group {
	for _, g := range groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

var functions = map[string]uint8{
	points.Coil: modbus.ReadCoils, points.DiscreteInput: modbus.ReadDiscreteInputs,
	points.Holding: modbus.ReadHoldingRegisters, points.Input: modbus.ReadInputRegisters,
}

// ask has the group read by these reads.
func (g *group) ask(reads []points.Read, unit uint32) {
	g.reads, g.requests = reads, make([]modbus.Request, len(reads))
	for i, r := range reads {
		g.requests[i] = modbus.Request{Unit: uint8(unit), Function: functions[r.Area], Address: r.Address, Quantity: r.Quantity}
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
			g.last[i] = old.last[k]
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
