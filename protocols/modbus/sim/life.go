package sim

import (
	"fmt"
	"math"
	"time"

	"gatewayd/protocols/modbus/points"
)

// Life makes the values of a device's points change like those of a small plant. Values written by
// a client are kept.
type Life struct {
	device  *Device
	points  []points.Point
	exps    map[string]bool    // points that hold the exponent of others
	written map[place]struct{} // guarded by the device's lock
}

// place is one address of a device.
type place struct {
	table   Table
	address uint16
}

var tables = map[string]Table{
	points.Coil: Coils, points.DiscreteInput: DiscreteInputs, points.Holding: HoldingRegisters, points.Input: InputRegisters,
}

// NewLife creates all addresses touched by reads of the points within the limits, and sets the
// initial values. It uses the device's Changed.
func NewLife(d *Device, ps []points.Point, limits points.Limits) (*Life, error) {
	reads, err := points.Plan(ps, limits)
	if err != nil {
		return nil, err
	}
	l := &Life{device: d, points: ps, exps: map[string]bool{}, written: map[place]struct{}{}}
	for _, r := range reads {
		d.Put(tables[r.Area], r.Address, make([]uint16, r.Quantity)...)
	}
	for _, p := range ps {
		l.exps[p.ScaleFrom] = p.ScaleFrom != ""
	}
	d.Changed(func(t Table, address uint16, values []uint16) {
		for i := range values {
			l.written[place{t, address + uint16(i)}] = struct{}{}
		}
	})
	for _, p := range ps {
		values, err := l.registers(p, time.Now(), 0)
		if err != nil {
			return nil, fmt.Errorf("cannot simulate a value: %w", err)
		}
		l.put(p, values)
	}
	return l, nil
}

// Pass sets the values that the device has after running for t, when the clock shows now.
func (l *Life) Pass(now time.Time, t time.Duration) {
	for _, p := range l.points {
		if values, err := l.registers(p, now, t); err == nil {
			l.put(p, values)
		}
	}
}

// put writes a point's registers or bit unless a client has written to them.
func (l *Life) put(p points.Point, values []uint16) {
	d, table := l.device, tables[p.Area]
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range values {
		if _, ok := l.written[place{table, p.Address + uint16(i)}]; ok {
			return
		}
	}
	if !p.Partial() {
		d.banks[table].put(int(p.Address), values)
		return
	}
	current, ok := d.banks[table].get(int(p.Address), 1)
	if !ok {
		return
	}
	and, or := values[0], values[1]
	d.banks[table].put(int(p.Address), []uint16{current[0]&and | or})
}

// registers returns the contents of a point's registers or bit at t; for a partial point, the masks
// for its part.
func (l *Life) registers(p points.Point, now time.Time, t time.Duration) ([]uint16, error) {
	v := plausible(p, l.device.unit, now, t)
	switch {
	case l.exps[p.Name]:
		v = points.Integer(-1)
	case p.ScaleFrom != "":
		f, _ := v.Float64()
		v = points.Integer(int64(f * 10))
	}
	return encoded(p, v)
}

// encoded returns the encoding of v, or of a smaller value that the point can hold.
func encoded(p points.Point, v points.Value) ([]uint16, error) {
	if p.Bits() {
		on, _ := v.Bool()
		return []uint16{map[bool]uint16{true: 1}[on]}, nil
	}
	p.Area = points.Holding // values of read-only areas are encoded too
	values, err := whole(p, v)
	for _, small := range []float64{1e-3, 1e-6, 0} { // for a narrow type
		f, number := v.Float64()
		if err == nil || !number {
			break
		}
		values, err = whole(p, points.Number(math.Trunc(f*small)))
	}
	return values, err
}

// whole returns the registers that hold v, or the masks.
func whole(p points.Point, v points.Value) ([]uint16, error) {
	if p.Partial() {
		and, or, err := p.Mask(v)
		return []uint16{and, or}, err
	}
	data, err := p.Encode(v)
	if err != nil {
		return nil, err
	}
	return words(data), nil
}
