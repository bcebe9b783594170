package firewall

import (
	"encoding/binary"

	"gatewayd/protocols/modbus"
)

// part is a range of consecutive coils or registers that a request reads or writes.
type part struct {
	function uint8
	write    bool
	lo, hi   int // lo > hi: the function has no address
	req      *modbus.Request
}

func (p part) bare() bool { return p.lo > p.hi }

func (p part) size() int {
	if p.bare() {
		return 1
	}
	return p.hi - p.lo + 1
}

func (p part) between(lo, hi int) part {
	p.lo, p.hi = lo, hi
	return p
}

// touches returns what a request reads and writes.
func touches(r modbus.Request) []part {
	one := func(write bool, first uint16, n int) part {
		return part{function: r.Function, write: write, lo: int(first), hi: int(first) + max(n, 1) - 1, req: &r}
	}
	switch r.Function {
	case modbus.ReadCoils, modbus.ReadDiscreteInputs, modbus.ReadHoldingRegisters, modbus.ReadInputRegisters:
		return []part{one(false, r.Address, int(r.Quantity))}
	case modbus.ReadFIFOQueue:
		return []part{one(false, r.Address, 1)}
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.MaskWriteRegister:
		return []part{one(true, r.Address, 1)}
	case modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters:
		return []part{one(true, r.Address, int(r.Quantity))}
	case modbus.ReadWriteMultipleRegisters:
		return []part{one(false, r.Address, int(r.Quantity)), one(true, r.WriteAddress, len(r.Data)/2)}
	}
	return []part{{function: r.Function, write: r.Write(), hi: -1}}
}

// value returns the range of the values that the request may leave at an address. It is a single
// number except for a mask write, and any number if the request does not tell.
func (p part) value(at int) span {
	data := p.req.Data
	switch i := at - int(p.req.Address); p.function {
	case modbus.WriteSingleCoil:
		return number(data, 0, func(v uint16) span { return exactly(int(v >> 15)) })
	case modbus.WriteMultipleCoils:
		if i/8 < len(data) {
			return exactly(int(data[i/8] >> (i % 8) & 1))
		}
		return anything
	case modbus.MaskWriteRegister:
		return number(data, 0, func(and uint16) span {
			return number(data, 1, func(or uint16) span { return span{int(or &^ and), int(or | and)} })
		})
	case modbus.ReadWriteMultipleRegisters:
		return number(data, at-int(p.req.WriteAddress), exact)
	default:
		return number(data, i, exact)
	}
}

var anything = span{0, 65535}

func exactly(n int) span { return span{n, n} }

func exact(v uint16) span { return exactly(int(v)) }

// number passes the i-th register of data to fn.
func number(data []byte, i int, fn func(uint16) span) span {
	if 2*i+2 > len(data) {
		return anything
	}
	return fn(binary.BigEndian.Uint16(data[2*i:]))
}
