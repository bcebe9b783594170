package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
)

// reading is what a unit holds at some place, or why that is not known.
type reading struct {
	point points.Point
	data  []byte // as it came
	value points.Value
	err   error
}

// selection is the points that were typed, and what reads of them the unit bears.
type selection struct {
	points   []points.Point
	limits   points.Limits
	computed []modbusunit.Computed // each after those it uses
	names    []string              // of the points to show, where others only scale or make them; nil: all
	named    bool                  // they have names of their own
}

// form is how registers are to be understood.
type form struct {
	kind, order   string
	length        int
	scale, offset float64
}

var areas = []string{points.Coil, points.DiscreteInput, points.Holding, points.Input}

// areaOf is the area that was typed, perhaps in short: c, d, h, i are enough.
func areaOf(text string) (string, bool) {
	for _, a := range areas {
		if text != "" && strings.HasPrefix(a, text) || text == a+"s" {
			return a, true
		}
	}
	return "", false
}

// place reads AREA ADDRESS as points of a form.
func (f form) place(area, first string, count int) ([]points.Point, error) {
	address, err := strconv.ParseUint(first, 0, 16)
	if err != nil {
		return nil, exit.Usage("address %q is not within 0 to 65535: it is counted from 0, as on the wire", first)
	}
	p := points.Point{Area: area, Type: f.kind, Order: f.order, Length: f.length, Scale: f.scale, Offset: f.offset}
	switch {
	case p.Bits() && f.kind != "" && f.kind != points.Bool:
		return nil, exit.Usage("--type %s: area %s holds single bits", f.kind, area)
	case p.Bits():
		p.Type = points.Bool
	case f.kind == "":
		p.Type = points.Uint16
	}
	if p.Type == points.String && p.Length == 0 {
		return nil, exit.Usage("--type string needs --length, in registers")
	}
	var all []points.Point
	for i := range count {
		at := int(address) + i*max(p.Registers(), 1)
		if at > 65535 {
			return nil, exit.Usage("%s of %s from %d go beyond address 65535", terminal.Counted(count, "value"), area, address)
		}
		p.Address, p.Name = uint16(at), strconv.Itoa(at)
		if err := p.Check(); err != nil {
			return nil, exit.Usage("%v", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// choose takes the points of these names, all if there are none.
func choose(known modbusunit.Known, names []string) (selection, error) {
	s := selection{limits: known.Limits, named: true}
	if len(names) == 0 {
		names = namesOf(known)
	}
	if len(names) == 0 {
		return s, errors.New("it has no points: name an area (coil, discrete-input, holding, input) and an address")
	}
	for _, name := range names {
		if !s.add(known, name) {
			hint := schemas.DidYouMean(name, namesOf(known))
			if area, ok := areaOf(name); ok && len(name) > 1 {
				hint = fmt.Sprintf("; behind area %s belongs an address from 0 to 65535, and behind that what is to be written", area)
			} else if hint == "" {
				hint = "; there are " + strings.Join(namesOf(known), ", ")
			}
			return s, exit.Usage("there is no point %q%s", name, hint)
		}
	}
	s.names = names
	return s, nil
}

// add takes a point and those that it needs; false: there is none of this name.
func (s *selection) add(known modbusunit.Known, name string) bool {
	if slices.ContainsFunc(s.points, func(p points.Point) bool { return p.Name == name }) ||
		slices.ContainsFunc(s.computed, func(c modbusunit.Computed) bool { return c.Name == name }) {
		return true
	}
	if i := slices.IndexFunc(known.Points, func(p points.Point) bool { return p.Name == name }); i >= 0 {
		s.points = append(s.points, known.Points[i])
		s.add(known, known.Points[i].ScaleFrom)
		return true
	}
	i := slices.IndexFunc(known.Computed, func(c modbusunit.Computed) bool { return c.Name == name })
	if i < 0 {
		return false
	}
	for _, source := range known.Computed[i].Uses {
		s.add(known, source)
	}
	s.computed = append(s.computed, known.Computed[i])
	return true
}

func namesOf(known modbusunit.Known) (names []string) {
	for _, p := range known.Points {
		names = append(names, p.Name)
	}
	for _, c := range known.Computed {
		names = append(names, c.Name)
	}
	return names
}

// mostRefusals is after how many refusals requests are no longer cut: a unit that has
// nothing where somebody looks is not asked for each address of it.
const mostRefusals = 300

// read reads a selection in the fewest requests; what one of them cannot have is
// told beside the point. A request for several that is refused is cut, as polls are:
// one address that does not exist does not hide the others.
func (s selection) read(ctx context.Context, d device) ([]reading, error) {
	reads, err := points.Plan(s.points, s.limits)
	if err != nil {
		return nil, exit.Usage("%v", err)
	}
	all := make([]reading, len(s.points))
	for i, p := range s.points {
		all[i].point = p
	}
	for refusals := 0; len(reads) > 0; {
		r := reads[0]
		reads = reads[1:]
		data, err := d.read(ctx, r)
		if err == nil {
			err = s.take(all, r, data)
		} else if addressRefused(err) {
			refusals++
			if left, right, ok := r.Halves(s.points); ok && refusals < mostRefusals {
				reads = slices.Insert(reads, 0, left, right)
				continue
			}
		}
		if err != nil {
			for _, ref := range r.Points {
				all[ref.Index].err = err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.rescale(all)
	return s.pick(s.compute(all)), nil
}

// addressRefused says whether a unit has no such address, or not so many; both ways to it tell so in the same words.
func addressRefused(err error) bool {
	return strings.Contains(err.Error(), ": exception 2: ") || strings.Contains(err.Error(), ": exception 3: ")
}

// compute adds what is computed from others.
func (s selection) compute(all []reading) []reading {
	for _, c := range s.computed {
		r := reading{point: c.Point}
		r.value, r.err = c.Value(func(name string) (points.Value, error) {
			i := slices.IndexFunc(all, func(o reading) bool { return o.point.Name == name })
			if err := all[i].err; err != nil {
				return points.Value{}, fmt.Errorf("%s: %w", name, err)
			}
			return all[i].value, nil
		})
		all = append(all, r)
	}
	return all
}

// pick is what is to be shown of all, in its order.
func (s selection) pick(all []reading) []reading {
	if s.names == nil {
		return all
	}
	shown := make([]reading, len(s.names))
	for i, name := range s.names {
		shown[i] = all[slices.IndexFunc(all, func(r reading) bool { return r.point.Name == name })]
	}
	return shown
}

func (s selection) take(all []reading, r points.Read, data []byte) error {
	results, err := points.Extract(r, s.points, data)
	if err != nil {
		return err
	}
	for one := range results.All {
		all[one.Index].value, all[one.Index].err = one.Value, one.Err
	}
	for _, ref := range r.Points {
		if p := s.points[ref.Index]; !p.Bits() {
			all[ref.Index].data = data[2*ref.Offset : 2*(ref.Offset+p.Registers())]
		}
	}
	return nil
}

// rescale applies the scales that other points hold.
func (s selection) rescale(all []reading) {
	for i := range all {
		r := &all[i]
		if r.point.ScaleFrom == "" || r.err != nil {
			continue
		}
		by := slices.IndexFunc(all, func(o reading) bool { return o.point.Name == r.point.ScaleFrom })
		if by < 0 || all[by].err != nil {
			r.err = fmt.Errorf("its scale, point %q, is not known", r.point.ScaleFrom)
			continue
		}
		p, err := r.point.Rescaled(all[by].value)
		if err == nil {
			r.value, err = p.Decode(r.data)
		}
		r.err = err
	}
}

// unread says whether the unit has not given what was asked for; no value is an
// answer too.
func (r reading) unread() bool { return r.err != nil && !errors.Is(r.err, points.ErrNoValue) }

// trouble is why not all readings are there, in one error; none says that there
// is nothing to be shown.
func trouble(all []reading) (err error, none bool) {
	bad := 0
	for _, r := range all {
		if r.unread() {
			if bad++; err == nil {
				err = r.err
			}
		}
	}
	if bad == 0 || bad == len(all) {
		return err, bad > 0
	}
	return fmt.Errorf("%d of %d not read: %w", bad, len(all), err), false
}
