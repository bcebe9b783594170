package modbusunit

import (
	"encoding/binary"
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func (u *unit) writeRegisters(c *actors.Context, m *modbusv1.WriteRegistersRequest) {
	data, err := packed("values", m.Values)
	if err != nil {
		c.Refuse(err)
		return
	}
	u.request(c, registerWrite(uint16(m.GetAddress()), data), func(c *actors.Context, _ *dispatch.Result) {
		c.Reply(&modbusv1.WriteRegistersResponse{})
	})
}

// packed returns registers in wire format.
func packed(field string, values []uint32) ([]byte, error) {
	data := make([]byte, 0, 2*len(values))
	for i, v := range values {
		if v > 0xffff {
			return nil, actors.Errorf(actors.InvalidArgument, "%s[%d]: %d is out of range: a register holds 0 to 65535", field, i, v)
		}
		data = binary.BigEndian.AppendUint16(data, uint16(v))
	}
	return data, nil
}

// registerWrite uses function 6 for one register and 16 for more.
func registerWrite(address uint16, data []byte) modbus.Request {
	r := modbus.Request{Function: modbus.WriteMultipleRegisters, Address: address, Quantity: uint16(len(data) / 2), Data: data}
	if r.Quantity == 1 {
		r.Function = modbus.WriteSingleRegister
	}
	return r
}

func (u *unit) writeCoils(c *actors.Context, m *modbusv1.WriteCoilsRequest) {
	u.request(c, coilWrite(uint16(m.GetAddress()), m.Values), func(c *actors.Context, _ *dispatch.Result) {
		c.Reply(&modbusv1.WriteCoilsResponse{})
	})
}

// coilWrite uses function 5 for one coil and 15 for more.
func coilWrite(address uint16, values []bool) modbus.Request {
	if len(values) == 1 {
		data := []byte{0, 0}
		if values[0] {
			data[0] = 0xff
		}
		return modbus.Request{Function: modbus.WriteSingleCoil, Address: address, Quantity: 1, Data: data}
	}
	data := make([]byte, (len(values)+7)/8)
	for i, on := range values {
		if on {
			data[i/8] |= 1 << (i % 8)
		}
	}
	return modbus.Request{Function: modbus.WriteMultipleCoils, Address: address, Quantity: uint16(len(values)), Data: data}
}

func (u *unit) writePoint(c *actors.Context, m *modbusv1.WritePointRequest) {
	p, err := u.target(m.Point)
	if err != nil {
		c.Refuse(err)
		return
	}
	v, ok := valueOf(m)
	switch {
	case !ok:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "value is missing: set one of number, integer, unsigned, flag or text"))
	case !p.Writable():
		c.Refuse(actors.Errorf(actors.InvalidArgument, "point %s is in area %s, which cannot be written", p.Name, p.Area))
	case p.Partial():
		u.writePart(c, p, v)
	default:
		u.writeWhole(c, p, v)
	}
}

// target returns the point to write, rescaled if another point holds its scale.
func (u *unit) target(name string) (points.Point, error) {
	for _, g := range u.groups {
		i := g.find(name)
		switch {
		case i < 0:
			continue
		case i >= g.read:
			return points.Point{}, actors.Errorf(actors.InvalidArgument, "point %s is computed and cannot be written", name)
		case g.points[i].ScaleFrom == "":
			return g.points[i], nil
		}
		by := g.find(g.points[i].ScaleFrom)
		if err := g.whyPoor(by); err != nil {
			return points.Point{}, actors.Errorf(actors.Unavailable, "the scale of point %s is not known: %s", name, err)
		}
		p, err := g.points[i].Rescaled(g.last[by].value)
		if err != nil {
			return p, actors.Errorf(actors.FailedPrecondition, "%s", err)
		}
		return p, nil
	}
	var names []string
	for _, g := range u.groups {
		for _, p := range g.points[:g.read] {
			names = append(names, p.Name)
		}
	}
	return points.Point{}, actors.Errorf(actors.NotFound, "unknown point %q%s", name, schemas.DidYouMean(name, names))
}

func valueOf(m *modbusv1.WritePointRequest) (points.Value, bool) {
	switch v := m.Value.(type) {
	case *modbusv1.WritePointRequest_Number:
		return points.Number(v.Number), true
	case *modbusv1.WritePointRequest_Integer:
		return points.Integer(v.Integer), true
	case *modbusv1.WritePointRequest_Unsigned:
		return points.Unsigned(v.Unsigned), true
	case *modbusv1.WritePointRequest_Flag:
		return points.Flag(v.Flag), true
	case *modbusv1.WritePointRequest_Text:
		return points.Text(v.Text), true
	}
	return points.Value{}, false
}

func written(c *actors.Context, _ *dispatch.Result) { c.Reply(&modbusv1.WritePointResponse{}) }

func (u *unit) writeWhole(c *actors.Context, p points.Point, v points.Value) {
	data, err := p.Encode(v)
	switch {
	case err != nil:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
	case p.Bits():
		u.request(c, coilWrite(p.Address, []bool{data[0]&1 == 1}), written)
	default:
		u.request(c, registerWrite(p.Address, data), written)
	}
}

// writePart writes a point that shares its register with others. It uses the mask of function 22,
// or reads the register first if the unit does not know that function.
func (u *unit) writePart(c *actors.Context, p points.Point, v points.Value) {
	and, or, err := p.Mask(v)
	switch {
	case err != nil:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	case u.unmask:
		u.merge(c, p, v)
		return
	}
	data := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, and), or)
	r := modbus.Request{Function: modbus.MaskWriteRegister, Address: p.Address, Quantity: 1, Data: data}
	u.try(c, r, func(c *actors.Context, res *dispatch.Result) {
		var e *modbus.Exception
		switch {
		case errors.As(res.Err, &e) && e.Code == modbus.IllegalFunction:
			u.unmask = true
			u.merge(c, p, v)
		case res.Err != nil:
			c.Refuse(u.refusal(r, res))
		default:
			written(c, res)
		}
	})
}

// merge reads the register, changes the bits of the point and writes it back. Between its read and
// its write no other write is sent, because the one would undo the other.
func (u *unit) merge(c *actors.Context, p points.Point, v points.Value) {
	if u.merging {
		c.After(mergeTurn, held{func(c *actors.Context) { u.merge(c, p, v) }})
		return
	}
	u.merging = true
	end := func(c *actors.Context, why error) {
		u.merging = false
		c.Refuse(why)
	}
	link, unit := u.cfg.Link, u.cfg.Unit
	read := modbus.Request{Function: modbus.ReadHoldingRegisters, Address: p.Address, Quantity: 1}
	u.attempt(c, read, 0, end, func(c *actors.Context, r *dispatch.Result) {
		if r.Err != nil {
			end(c, u.refusal(read, r))
			return
		}
		data, err := p.Merge(r.Data, v)
		switch {
		case err != nil:
			end(c, actors.Errorf(actors.InvalidArgument, "%s", err))
			return
		case link != u.cfg.Link || unit != u.cfg.Unit:
			end(c, actors.Errorf(actors.Aborted, "not sent: the link or the address of the unit has changed meanwhile"))
			return
		}
		write := registerWrite(p.Address, data)
		u.attempt(c, write, 0, end, func(c *actors.Context, r *dispatch.Result) {
			if r.Err != nil {
				end(c, u.refusal(write, r))
				return
			}
			u.merging = false
			written(c, r)
		})
	})
}

// mergeTurn is how long a write waits before it checks again whether a merge is still under way.
const mergeTurn = 5 * time.Millisecond

// held is a write that waits for the end of a merge.
type held struct{ then func(c *actors.Context) }
