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

// reading is the value read for a point, or the error.
type reading struct {
	point points.Point
	data  []byte // registers as received
	value points.Value
	err   error
}

// selection is the points to read, and the limits of the unit's reads.
type selection struct {
	points   []points.Point
	limits   points.Limits
	computed []modbusunit.Computed // each after those it uses
	names    []string              // points to show, if others are read only to scale or compute them; nil: all
	named    bool                  // points are shown by name rather than by address
}

// form is how registers are interpreted.
type form struct {
	kind, order   string
	length        int
	scale, offset float64
}

var areas = []string{points.Coil, points.DiscreteInput, points.Holding, points.Input}

// areaOf returns the area that text names; a prefix such as its first letter is enough.
func areaOf(text string) (string, bool) {
	for _, a := range areas {
		if text != "" && strings.HasPrefix(a, text) || text == a+"s" {
			return a, true
		}
	}
	return "", false
}

// place returns count points that follow each other from AREA ADDRESS.
func (f form) place(area, first string, count int) ([]points.Point, error) {
	address, err := strconv.ParseUint(first, 0, 16)
	if err != nil {
		return nil, exit.Usage("address %q is not within 0 to 65535: it is counted from 0, as on the wire", first)
	}
	p := points.Point{Area: area, Type: f.kind, Order: f.order, Length: f.length, Scale: f.scale, Offset: f.offset}
	switch {
	case p.Bits() && f.kind != "" && f.kind != points.Bool:
		return nil, exit.Usage("--type %s: area %s holds single bits: leave --type out", f.kind, area)
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
			return nil, exit.Usage("%s of %s from %d end beyond address 65535", terminal.Counted(count, "value"), area, address)
		}
		p.Address, p.Name = uint16(at), strconv.Itoa(at)
		if err := p.Check(); err != nil {
			return nil, exit.Usage("%v", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// choose selects the points of these names, or all if names is empty. more is what the command takes
// after the address of an area, for the error.
func choose(known modbusunit.Known, names []string, more string) (selection, error) {
	s := selection{limits: known.Limits, named: true}
	if len(names) == 0 {
		names = namesOf(known)
	}
	if len(names) == 0 {
		return s, errors.New("the unit has no points: name an area (coil, discrete-input, holding, input) and an address")
	}
	for _, name := range names {
		if !s.add(known, name) {
			hint := schemas.DidYouMean(name, namesOf(known))
			if area, ok := areaOf(name); ok && len(name) > 1 {
				hint = fmt.Sprintf("; after area %s give an address from 0 to 65535%s", area, more)
			} else if hint == "" {
				hint = "; its points are " + strings.Join(namesOf(known), ", ")
			}
			return s, exit.Usage("unknown point %q%s", name, hint)
		}
	}
	s.names = names
	return s, nil
}

// add adds a point and those it depends on. It returns false if there is no such point.
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

// maxRefusals is the number of refused requests after which further ones are not split: a unit
// that has nothing in the range is not asked for every single address.
const maxRefusals = 300

// read reads a selection in the fewest requests. An error of one of them is put into the readings
// it concerns. A refused request for several points is split, as polls are, so that one address
// that does not exist does not hide the others.
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
			if left, right, ok := r.Halves(s.points); ok && refusals < maxRefusals {
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

// addressRefused reports whether a unit has no such address, or fewer of them. Both kinds of device
// report these exceptions in the same words.
func addressRefused(err error) bool {
	return strings.Contains(err.Error(), ": exception 2: ") || strings.Contains(err.Error(), ": exception 3: ")
}

// compute appends the points that are computed from others.
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

// pick returns the readings to show, in the order of s.names.
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

// rescale applies scales that are held by other points.
func (s selection) rescale(all []reading) {
	for i := range all {
		r := &all[i]
		if r.point.ScaleFrom == "" || r.err != nil {
			continue
		}
		by := slices.IndexFunc(all, func(o reading) bool { return o.point.Name == r.point.ScaleFrom })
		if by < 0 || all[by].err != nil {
			r.err = fmt.Errorf("point %q, which holds its scale, could not be read", r.point.ScaleFrom)
			continue
		}
		p, err := r.point.Rescaled(all[by].value)
		if err == nil {
			r.value, err = p.Decode(r.data)
		}
		r.err = err
	}
}

// unread reports whether the unit has not given what was asked for. That a point has no value is an
// answer too.
func (r reading) unread() bool { return r.err != nil && !errors.Is(r.err, points.ErrNoValue) }

// trouble returns one error for all readings that failed. none reports that all have failed, so
// there is nothing to show.
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
