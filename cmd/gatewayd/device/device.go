// Package device has the commands for one Modbus device: read, write and scan. They go through a
// running gateway; read and write also work without one.
package device

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/target"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// device is one Modbus unit, reached through a running gateway or directly.
type device interface {
	// points returns the points the unit is known to have, and the limits of its reads.
	points(ctx context.Context) (modbusunit.Known, error)
	// read returns registers, or bits packed from the lowest up.
	read(ctx context.Context, r points.Read) ([]byte, error)
	// write writes registers, or bits packed from the lowest up.
	write(ctx context.Context, area string, address, quantity uint16, data []byte) error
	// set writes the value of a point.
	set(ctx context.Context, p points.Point, v points.Value) error
	// broadcast reports whether this is the broadcast address of a line, whose writes no unit
	// confirms.
	broadcast(ctx context.Context) bool
	Close()
}

// deviceAt connects to the unit that was typed: a URL is a unit reached directly, anything else the
// path of an actor.
func deviceAt(ctx context.Context, c *client.Client, name, profileName string, answer time.Duration) (device, error) {
	var known *modbusv1.Profile
	if profileName != "" {
		var err error
		if known, err = Profile(profileName); err != nil {
			return nil, err
		}
	}
	if !target.Is(name) {
		if known != nil {
			return nil, exit.Usage("--profile is only for a unit that is reached directly; the points of %s are in the config", name)
		}
		if err := c.Connect(ctx); err != nil {
			return nil, err
		}
		return &hosted{Client: c, path: name}, nil
	}
	t, err := target.Parse(name)
	if err != nil {
		return nil, exit.Usage("%v", err)
	}
	way, err := t.Open(ctx, answer)
	if err != nil {
		return nil, err
	}
	return &direct{way: way, profile: known, all: t.Unit == 0 && t.Framing != modbus.TCP}, nil
}

var readFunctions = map[string]uint8{
	points.Coil: modbus.ReadCoils, points.DiscreteInput: modbus.ReadDiscreteInputs,
	points.Holding: modbus.ReadHoldingRegisters, points.Input: modbus.ReadInputRegisters,
}

// direct is a unit reached without a gateway.
type direct struct {
	way     *target.Conn
	profile *modbusv1.Profile // nil: no points are known
	all     bool              // the broadcast address of a line
}

func (d *direct) broadcast(context.Context) bool { return d.all }

func (d *direct) Close() { _ = d.way.Close() }

func (d *direct) points(context.Context) (modbusunit.Known, error) {
	if d.profile == nil {
		return modbusunit.Known{}, exit.Usage("name an area (coil, discrete-input, holding, input) and an address, or give the points of the unit by --profile")
	}
	return modbusunit.ProfileKnown(d.profile)
}

func (d *direct) read(ctx context.Context, r points.Read) ([]byte, error) {
	answer, err := d.way.Do(ctx, modbus.Request{Function: readFunctions[r.Area], Address: r.Address, Quantity: r.Quantity})
	return answer.Data, err
}

func (d *direct) write(ctx context.Context, area string, address, quantity uint16, data []byte) error {
	r := modbus.Request{Function: modbus.WriteMultipleRegisters, Address: address, Quantity: quantity, Data: data}
	switch {
	case area == points.Coil && quantity == 1:
		r.Function, r.Data = modbus.WriteSingleCoil, []byte{0xff * (data[0] & 1), 0}
	case area == points.Coil:
		r.Function = modbus.WriteMultipleCoils
	case quantity == 1:
		r.Function = modbus.WriteSingleRegister
	}
	_, err := d.way.Do(ctx, r)
	return err
}

func (d *direct) set(ctx context.Context, p points.Point, v points.Value) error {
	if p.Partial() {
		return d.merge(ctx, p, v)
	}
	data, err := p.Encode(v)
	if err != nil {
		return exit.Usage("%v", err)
	}
	return d.write(ctx, p.Area, p.Address, uint16(max(p.Registers(), 1)), data)
}

// merge writes a point that shares its register with others: by function 22 (mask write register),
// or by reading the register first if the unit does not support that function.
func (d *direct) merge(ctx context.Context, p points.Point, v points.Value) error {
	and, or, err := p.Mask(v)
	if err != nil {
		return exit.Usage("%v", err)
	}
	masks := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, and), or)
	_, err = d.way.Do(ctx, modbus.Request{Function: modbus.MaskWriteRegister, Address: p.Address, Quantity: 1, Data: masks})
	var e *modbus.Exception
	if !errors.As(err, &e) || e.Code != modbus.IllegalFunction {
		return err
	}
	current, err := d.read(ctx, points.Read{Area: p.Area, Address: p.Address, Quantity: 1})
	if err != nil {
		return err
	}
	data, err := p.Merge(current, v)
	if err != nil {
		return err
	}
	return d.write(ctx, p.Area, p.Address, 1, data)
}
