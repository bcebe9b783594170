package modbusunit

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// own is the leaf of points without a group, which are read at the unit's own interval.
const own = "points"

// group is a scan group: points that are read and published together.
type group struct {
	*table
	name  string
	every time.Duration
	key   string // key of its polls on the link

	reads    []points.Read // at first those of the table, later as cut for the unit
	requests []modbus.Request
	spare    *dispatch.Ask // an answered Ask to reuse for the next scan; nil: there is none

	sequence uint64 // of the last samples published
	time     good   // of the last samples
	last     []last // of each point, in the order of the table
	poor     []poor // why points are not good; nil: all are good
	sent     []sent // what was last published; nil: nothing, or points are always published
	busy     bool   // a scan is under way
	overtook bool   // samples were published since the scan began; its own must not be older
	extra    bool   // the scan began between two slots and counts for the next one
	cuts     *cuts  // nil: the unit refuses nothing
	trouble  string // why the last scan was not all good
	shed     string // why the link reads the group only when there is time; empty: it is read at its interval
}

// layout returns the groups that a config describes. Groups in before whose config means the same
// are kept.
func (u *unit) layout(cfg *modbusv1.Unit, path string, before []*group) ([]*group, error) {
	recipes, err := recipesOf(cfg)
	if err != nil {
		return nil, err
	}
	var made []*group
	for _, r := range recipes {
		t, err := u.shared.table(r.recipe)
		if err != nil {
			return nil, err
		}
		g := &group{table: t, name: r.name, every: r.every, key: dispatch.PollKey(path, r.name), last: make([]last, len(t.points))}
		g.ask(t.reads, cfg.Unit)
		if old := named(before, g.name); old != nil {
			g = g.succeed(old)
		}
		made = append(made, g)
	}
	return made, nil
}

// groupRecipe is the recipe of a scan group.
type groupRecipe struct {
	recipe
	name  string
	every time.Duration
}

func recipesOf(cfg *modbusv1.Unit) ([]groupRecipe, error) {
	limits, err := limitsOf(cfg)
	if err != nil {
		return nil, err
	}
	all := []groupRecipe{{recipe{limits: limits, report: cfg.Report}, own, cfg.Every.AsDuration()}}
	for _, g := range cfg.Groups {
		if g.Name == own {
			return nil, fmt.Errorf("a scan group must not have the name %q: it is reserved for points without a group", own)
		}
		r := cfg.Report
		if g.Report != nil {
			r = g.Report
		}
		all = append(all, groupRecipe{recipe{limits: limits, report: r}, g.Name, g.Every.AsDuration()})
	}
	of := func(group string) *groupRecipe {
		for i := range all {
			if all[i].name == group || group == "" {
				return &all[i]
			}
		}
		return nil
	}
	for _, p := range cfg.Points {
		g := of(p.Group)
		if g == nil {
			return nil, &fault{p.Name, false, fmt.Errorf("point %s: unknown scan group %q", p.Name, p.Group)}
		}
		g.config = append(g.config, p)
	}
	for _, d := range cfg.Derived {
		g := of(d.Group)
		if g == nil {
			return nil, &fault{d.Name, true, fmt.Errorf("point %s: unknown scan group %q", d.Name, d.Group)}
		}
		g.derived = append(g.derived, d)
	}
	if err := alone(all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(g groupRecipe) bool { return len(g.config) == 0 }), nil
}

// alone refuses a derived point in a group that reads no points to compute it from.
func alone(all []groupRecipe) error {
	for _, g := range all {
		if len(g.config) == 0 && len(g.derived) > 0 {
			return &fault{g.derived[0].Name, true, fmt.Errorf("point %q: its scan group has no point to compute it from", g.derived[0].Name)}
		}
	}
	return nil
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

// ask makes reads the group's reads.
func (g *group) ask(reads []points.Read, unit uint32) {
	g.reads, g.requests = reads, make([]modbus.Request, len(reads))
	for i, r := range reads {
		g.requests[i] = requestOf(r, unit)
	}
}

func requestOf(r points.Read, unit uint32) modbus.Request {
	return modbus.Request{Unit: uint8(unit), Function: functions[r.Area], Address: r.Address, Quantity: r.Quantity}
}

// succeed returns the successor of old: old itself if their configs mean the same, else g with the
// last values of the points that have not changed.
func (g *group) succeed(old *group) *group {
	if g.equal(&old.recipe) && g.requests[0].Unit == old.requests[0].Unit {
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
