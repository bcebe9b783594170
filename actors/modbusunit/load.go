package modbusunit

import (
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// assumed is the latency assumed for a unit that has none configured.
const assumed = 20 * time.Millisecond

// load returns the load that the unit puts on its link.
func (u *unit) load(c *actors.Context) *budget.Unit {
	if u.asks == nil {
		l := loadOf(c.Name(), u.cfg, u.groups)
		u.asks = &l
	}
	return u.asks
}

func loadOf(path string, cfg *modbusv1.Unit, groups []*group) budget.Unit {
	l := budget.Unit{
		Name: path, Latency: cfg.Latency.AsDuration(), Rest: cfg.Rest.AsDuration(),
		Timeout: cfg.Timeout.AsDuration(), Backoff: cfg.MaxBackoff.AsDuration(), Groups: make([]budget.Group, len(groups)),
	}
	if cfg.Latency == nil {
		l.Latency = assumed
	}
	for i, g := range groups {
		l.Groups[i] = budget.Group{Name: g.name, Every: g.every, Requests: g.requests}
	}
	return l
}

// plans caches the reads of recipes, so that they are planned once for a hundred meters of one
// make.
type plans map[tableKey]plan

type plan struct {
	recipe
	reads []points.Read
}

// groups returns the groups that a config describes, with only their reads filled in.
func (p plans) groups(cfg *modbusv1.Unit) ([]*group, error) {
	recipes, err := recipesOf(cfg)
	if err != nil {
		return nil, err
	}
	var groups []*group
	for _, r := range recipes {
		key := tableKey{r.config[0], len(r.config), r.settings()}
		known, ok := p[key]
		if !ok || !known.same(&r.recipe) {
			reads, err := r.reads()
			if err != nil {
				return nil, err
			}
			known = plan{r.recipe, reads}
			p[key] = known
		}
		g := &group{name: r.name, every: r.every}
		g.ask(known.reads, cfg.Unit)
		groups = append(groups, g)
	}
	return groups, nil
}

// reads returns the reads that cover the recipe's points.
func (r *recipe) reads() ([]points.Read, error) {
	all := make([]points.Point, len(r.config))
	for i, p := range r.config {
		var err error
		if all[i], err = pointOf(p); err != nil {
			return nil, &fault{p.Name, false, err}
		}
	}
	return points.Plan(all, r.limits)
}
