package modbusunit

import (
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// CheckProfile returns the violations of a profile and completes its points. It is for tools that
// load profiles themselves.
func CheckProfile(p *modbusv1.Profile) []schemas.Violation { return checkProfile(p) }

// Known is what a config or profile says about the points of a unit, for tools that read it
// themselves.
type Known struct {
	Points   []points.Point // points that are read
	Limits   points.Limits  // limits on reads
	Computed []Computed     // derived points, each after those it uses
}

// Computed is a point that is computed from others.
type Computed struct {
	points.Point
	Uses   []string // names of the points it is computed from
	from   *points.Expression
	finish points.Finish
}

// Value computes the point's value. of returns the value of a point that it uses, or an error if
// there is none.
func (d *Computed) Value(of func(name string) (points.Value, error)) (points.Value, error) {
	v, err := d.from.Value(func(i int) (points.Value, error) { return of(d.Uses[i]) })
	if err != nil {
		return v, err
	}
	return d.finish.Apply(v)
}

// ProfileKnown returns the points of a profile that passed CheckProfile.
func ProfileKnown(p *modbusv1.Profile) (Known, error) {
	cfg := &modbusv1.Unit{}
	schemas.Defaults(cfg)
	apply(cfg, p)
	return UnitKnown(cfg)
}

// UnitKnown returns the points of a unit's config.
func UnitKnown(cfg *modbusv1.Unit) (k Known, err error) {
	if k.Limits, err = limitsOf(cfg); err != nil {
		return k, err
	}
	k.Points = make([]points.Point, len(cfg.Points))
	for i, p := range cfg.Points {
		if k.Points[i], err = pointOf(p); err != nil {
			return k, err
		}
	}
	recipes, err := recipesOf(cfg)
	for _, r := range recipes {
		if len(r.derived) == 0 {
			continue
		}
		t, err := newTable(r.recipe)
		if err != nil {
			return k, err
		}
		for _, d := range t.computed {
			k.Computed = append(k.Computed, Computed{t.points[d.index], d.from.Names, d.from, d.finish})
		}
	}
	return k, err
}
