package modbusunit

import (
	"errors"
	"fmt"
	"slices"

	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// computed is a derived point and the points it takes its values from.
type computed struct {
	index   int // of the point in its table
	sources []int
	from    *points.Expression
	finish  points.Finish
}

// scaling is a point and the point that holds its scale, as indexes in the table.
type scaling struct{ index, by int }

// link finds the points that others of the table are made from. It joins all errors into one.
func (t *table) link() error {
	var wrong []error
	for i := range t.points {
		p := &t.points[i]
		if p.ScaleFrom == "" {
			continue
		}
		by := t.find(p.ScaleFrom)
		switch {
		case by < 0:
			wrong = append(wrong, &fault{p.Name, false, fmt.Errorf("point %q: scale-from: its scan group has no point %q", p.Name, p.ScaleFrom)})
		case t.points[by].ScaleFrom != "" || t.kind(by) != numbers:
			wrong = append(wrong, &fault{p.Name, false, fmt.Errorf("point %q: scale-from: point %q must be a number without scale", p.Name, p.ScaleFrom)})
		}
		t.scaled = append(t.scaled, scaling{i, by})
	}
	if len(t.derived) > 0 {
		wrong = append(wrong, t.derive()...)
	}
	return errors.Join(wrong...)
}

// derive appends the derived points to the table, after those that are read.
func (t *table) derive() (wrong []error) {
	names := make([]string, len(t.derived))
	for i, d := range t.derived {
		if t.find(d.Name) >= 0 {
			wrong = append(wrong, &fault{d.Name, true, fmt.Errorf("point %q: the name is already used", d.Name)})
		}
		names[i] = d.Name
	}
	uses := make([][]string, len(names))
	// Only the names matter here. Which of them are flags is not known yet.
	for i, d := range t.derived {
		_, _ = points.ParseExpression(d.Expression, func(name string) (bool, bool) { uses[i] = append(uses[i], name); return false, true })
	}
	order, err := points.Sequence(names, func(i int) []string { return uses[i] })
	if err != nil {
		return append(wrong, &fault{names[0], true, err})
	}
	base, n := t.read, len(names)
	t.points = append(t.points, make([]points.Point, n)...)
	t.kinds = make([]valueKind, n)
	for _, i := range order {
		if err := t.compile(base+i, t.derived[i]); err != nil {
			wrong = append(wrong, &fault{names[i], true, fmt.Errorf("point %q: %w", names[i], err)})
		}
	}
	return wrong
}

func (t *table) compile(at int, d *modbusv1.Derived) error {
	t.points[at] = points.Point{Name: d.Name, Type: points.Float64, Unit: d.Unit}
	e, err := points.ParseExpression(d.Expression, func(name string) (flag, ok bool) {
		i := t.find(name)
		if i < 0 {
			return false, false
		}
		kind := t.kind(i)
		return kind == flags, kind != texts
	})
	if err != nil {
		return err
	}
	one := computed{index: at, from: e, finish: points.Finish{Min: d.Min, Max: d.Max, Clamp: d.Clamp, Decimals: decimals(d.Decimals)}}
	for _, name := range e.Names {
		one.sources = append(one.sources, t.find(name))
	}
	t.kinds[at-t.read] = numbers
	if e.Flag() {
		t.kinds[at-t.read] = flags
	}
	t.computed = append(t.computed, one)
	// The check of a point checks the limits as well.
	return points.Point{Area: points.Holding, Type: points.Float64, Finish: &one.finish}.Check()
}

type valueKind uint8

const (
	numbers valueKind = iota
	flags
	texts
)

// kind returns the kind of a point's values.
func (t *table) kind(i int) valueKind {
	if i >= t.read {
		return t.kinds[i-t.read]
	}
	switch t.points[i].Type {
	case points.Bool:
		return flags
	case points.String, points.Bytes, points.Unix32, points.Unix64, points.CP56, points.BCDTime, points.Fields:
		return texts
	}
	return numbers
}

func (t *table) find(name string) int {
	return slices.IndexFunc(t.points, func(p points.Point) bool { return p.Name == name })
}

// rescale sets the values of points whose scale is held by another point. raw are their unscaled
// values, in the order of g.scaled.
func (g *group) rescale(raw []points.Value, at good, v *verdict) {
	for k, s := range g.scaled {
		if raw[k].Kind() == points.None {
			continue // the cause has been noted already
		}
		var value points.Value
		err := g.whyPoor(s.by)
		if err == nil {
			value, err = g.points[s.index].Rescale(raw[k], g.last[s.by].value)
		}
		g.settle(s.index, value, err, at, v)
	}
}

// compute sets the values of derived points.
func (g *group) compute(at good, v *verdict) {
	for k := range g.computed {
		d := &g.computed[k]
		value, err := d.from.Value(func(i int) (points.Value, error) {
			source := d.sources[i]
			return g.last[source].value, g.whyPoor(source)
		})
		if err == nil {
			value, err = d.finish.Apply(value)
		}
		g.settle(d.index, value, err, at, v)
	}
}

// settle stores a value made from others, or notes why there is none.
func (g *group) settle(i int, value points.Value, err error, at good, v *verdict) {
	if err == nil {
		g.last[i] = last{value, at}
		return
	}
	quality, cause := bad, err.Error()
	var of *poorSource
	if errors.As(err, &of) {
		quality = of.quality
	}
	v.misfits(cause, 1)
	g.keep(i, quality, cause)
}

// poorSource is the error that a point from which another one is made has no good value.
type poorSource struct {
	poor
	point string
}

func (p *poorSource) Error() string { return p.point + ": " + p.cause }

func (g *group) whyPoor(i int) error {
	switch {
	case g.poor != nil && g.poor[i] != (poor{}):
		return &poorSource{g.poor[i], g.points[i].Name}
	case g.last[i].value.Kind() == points.None:
		return &poorSource{poor{stale, "never read"}, g.points[i].Name}
	}
	return nil
}
