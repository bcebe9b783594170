package modbusunit

import (
	"fmt"
	"strconv"
	"strings"

	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// fault is an error about one point of a config.
type fault struct {
	point   string
	derived bool
	err     error
}

func (f *fault) Error() string { return f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

func pointOf(p *modbusv1.Point) (points.Point, error) {
	q := points.Point{
		Name: p.Name, Area: p.Area, Address: uint16(p.Address), Type: p.Type, Order: p.Order,
		Length: int(p.Length), Scale: p.Scale, Offset: p.Offset, Unit: p.Unit, ScaleFrom: p.ScaleFrom,
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
	finish, err := finishOf(p)
	if err != nil {
		return q, fmt.Errorf("point %q: %w", p.Name, err)
	}
	q.Finish = finish
	return q, q.Check()
}

// finishOf returns the checks and labels of a point; nil if it has none, like most points.
func finishOf(p *modbusv1.Point) (*points.Finish, error) {
	f := &points.Finish{Min: p.Min, Max: p.Max, Clamp: p.Clamp, Decimals: decimals(p.Decimals)}
	for _, text := range p.Absent {
		raw, cause, _ := strings.Cut(text, "=")
		n, err := strconv.ParseUint(raw, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("absent %q: %q is not a raw value of up to 64 bits", text, raw)
		}
		f.Absent = append(f.Absent, points.Sentinel{Raw: n, Cause: cause})
	}
	var err error
	if f.Labels, err = labelsOf(p.Labels); err != nil {
		return nil, err
	}
	if f.Flags, err = labelsOf(p.Flags); err != nil {
		return nil, err
	}
	if f.Min == nil && f.Max == nil && f.Decimals == nil && len(f.Absent)+len(f.Labels)+len(f.Flags) == 0 {
		return nil, nil
	}
	return f, nil
}

func decimals(n *uint32) *int {
	if n == nil {
		return nil
	}
	d := int(*n)
	return &d
}

func labelsOf(texts []string) ([]points.Label, error) {
	var labels []points.Label
	for _, text := range texts {
		number, name, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("label %q must begin with a number and =, like 1=running", text)
		}
		for _, l := range labels {
			if l.Value == n {
				return nil, fmt.Errorf("label %q: %d already has the label %q", text, n, l.Text)
			}
		}
		labels = append(labels, points.Label{Value: n, Text: name})
	}
	return labels, nil
}

// limitsOf returns the limits on reads of the unit.
func limitsOf(cfg *modbusv1.Unit) (points.Limits, error) {
	l := points.Limits{MaxRegisters: int(cfg.MaxRegisters), MaxBits: int(cfg.MaxBits), Gap: int(cfg.Gap), OnePerPoint: cfg.OnePerPoint}
	for _, text := range cfg.Holes {
		area, addresses, _ := strings.Cut(text, " ")
		from, to, ranged := strings.Cut(addresses, "-")
		if !ranged {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil {
			return l, fmt.Errorf("hole %q: addresses are 0 to 65535", text)
		}
		l.Holes = append(l.Holes, points.Range{Area: area, First: uint16(first), Last: uint16(last)})
	}
	return l, l.Check()
}
