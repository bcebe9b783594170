// Package points describes the points of a Modbus unit: their addresses, the conversion of their
// bytes to values and back, and how to read many points with few requests. It does no I/O and has
// no clock: callers send the requests and supply the data.
package points

import (
	"fmt"
	"math"
	"strings"
)

// The four areas of a unit (Modbus Application Protocol §4.3).
const (
	Coil          = "coil"           // bits that can be read and written
	DiscreteInput = "discrete-input" // read-only bits
	Holding       = "holding"        // 16-bit registers that can be read and written
	Input         = "input"          // read-only 16-bit registers
)

// The protocol's own limits for one read (Modbus Application Protocol §6.1 to §6.4).
const (
	MaxRegisters = 125
	MaxBits      = 2000
)

// Values of Point.Byte, which select one byte of a register.
const (
	LowByte  = "low"
	HighByte = "high"
)

// Point is one value of a unit.
type Point struct {
	Name    string
	Area    string // Coil, DiscreteInput, Holding or Input
	Address uint16 // zero-based, as on the wire; address of the first register or of the bit
	// Bit, for bool in a register: number of the bit, 0 (least significant) to 15; nil: true if the register
	// is not 0
	Bit *int
	// Byte, for int8, uint8: LowByte (default) or HighByte; string: only this byte of each register contains
	// text
	Byte   string
	Type   string  // one of Types
	Order  string  // the order of the bytes on the wire, see OrderOf; empty means "big-endian"
	Length int     // string and bytes: number of registers, 1 to 125; otherwise 0
	Scale  float64 // value = raw · Scale + Offset; 0 means 1
	Offset float64
	Unit   string // of the value, for instance "kWh"; only for display
	// ScaleFrom names the point that holds the exponent n of the scale 10^n. Decode then returns
	// the raw integer, and Rescale the value.
	ScaleFrom string
	Finish    *Finish // settings that few points need; nil: none
}

// Bits reports whether the point is in an area of bits rather than registers.
func (p Point) Bits() bool { return p.bits() }

// bits, partial and registers have pointer receivers for loops over many points: a Point is large.
func (p *Point) bits() bool { return p.Area == Coil || p.Area == DiscreteInput }

// Writable reports whether the protocol has a function that writes the point's area.
func (p Point) Writable() bool { return p.Area == Coil || p.Area == Holding }

// Partial reports whether the point is only a part of its register, so that writing it must
// preserve the rest: see Mask and Merge.
func (p Point) Partial() bool { return p.partial() }

func (p *Point) partial() bool {
	return !p.bits() && (p.Bit != nil || p.Type == Int8 || p.Type == Uint8)
}

// Registers returns the number of registers the point occupies; 0 in an area of bits.
func (p Point) Registers() int { return p.registers() }

func (p *Point) registers() int {
	switch {
	case p.bits():
		return 0
	case p.Type == String || p.Type == Bytes:
		return p.Length
	}
	return (width(p.Type) + 1) / 2
}

// span returns the number of addresses the point occupies: registers, or one bit.
func (p *Point) span() int {
	if p.bits() {
		return 1
	}
	return p.registers()
}

// size returns the number of bytes that Decode expects and Encode returns.
func (p *Point) size() int {
	if p.bits() {
		return 1
	}
	return 2 * p.registers()
}

func (p *Point) scaled() bool { return p.scale() != 1 || p.Offset != 0 }

func (p *Point) scale() float64 {
	if p.Scale == 0 {
		return 1
	}
	return p.Scale
}

// Check returns what is wrong with the point, in terms of a device profile. The other methods
// require a point that passed Check.
func (p Point) Check() error {
	for _, check := range []func(Point) error{checkArea, checkLength, checkBit, checkByte, checkOrder, checkScale, checkFinish} {
		if err := check(p); err != nil {
			return fmt.Errorf("point %q: %w", p.Name, err)
		}
	}
	return nil
}

func checkArea(p Point) error {
	switch p.Area {
	case Coil, DiscreteInput, Holding, Input:
	default:
		return fmt.Errorf("area %q is not one of coil, discrete-input, holding, input", p.Area)
	}
	if width(p.Type) == 0 && p.Type != String && p.Type != Bytes {
		return fmt.Errorf("type %q is not one of %s", p.Type, strings.Join(Types(), ", "))
	}
	if p.Bits() && p.Type != Bool {
		return fmt.Errorf("area %s cannot be %s: it holds single bits, use bool", p.Area, p.Type)
	}
	return nil
}

func checkLength(p Point) error {
	text := p.Type == String || p.Type == Bytes
	switch {
	case text && (p.Length < 1 || p.Length > MaxRegisters):
		return fmt.Errorf("length %d of %s is outside 1 to %d registers", p.Length, p.Type, MaxRegisters)
	case !text && p.Length != 0:
		return fmt.Errorf("length %d is given, but type %s has a fixed length", p.Length, p.Type)
	case int(p.Address)+p.span() > 65536:
		return fmt.Errorf("address %d with %d registers ends beyond 65535", p.Address, p.span())
	}
	return nil
}

func checkBit(p Point) error {
	switch {
	case p.Bit == nil:
		return nil
	case p.Bits():
		return fmt.Errorf("bit %d is given, but %s is a bit already", *p.Bit, p.Area)
	case p.Type != Bool:
		return fmt.Errorf("bit %d of a register needs type bool, not %s", *p.Bit, p.Type)
	case *p.Bit < 0 || *p.Bit > 15:
		return fmt.Errorf("bit %d is outside 0 to 15", *p.Bit)
	}
	return nil
}

func checkByte(p Point) error {
	switch {
	case p.Byte == "":
		return nil
	case p.Byte != LowByte && p.Byte != HighByte:
		return fmt.Errorf("byte %q is neither low nor high", p.Byte)
	case p.Type != Int8 && p.Type != Uint8 && p.Type != String:
		return fmt.Errorf("byte %q is for int8, uint8 and string, not %s", p.Byte, p.Type)
	}
	return nil
}

func checkOrder(p Point) error {
	if p.Order == "" {
		return nil
	}
	if p.Bits() {
		return fmt.Errorf("order %q is given, but a single bit has no byte order", p.Order)
	}
	_, err := OrderOf(p.Order, p.unit())
	if err != nil {
		return fmt.Errorf("type %s: %w", p.Type, err)
	}
	return nil
}

func checkScale(p Point) error {
	for _, f := range []float64{p.Scale, p.Offset} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("scale %g and offset %g must be finite", p.Scale, p.Offset)
		}
	}
	if math.IsInf(1/p.scale(), 0) {
		return fmt.Errorf("scale %g is too small: its inverse is infinite", p.Scale)
	}
	switch p.Type {
	case Bool, String, Bytes, Unix32, Unix64, CP56, BCDTime, Fields:
		if p.scaled() || p.ScaleFrom != "" {
			return fmt.Errorf("type %s cannot have a scale or an offset", p.Type)
		}
	}
	if _, _, whole := bounds(p.Type); p.ScaleFrom != "" && !whole {
		return fmt.Errorf("type %s cannot be scaled by another point; only integers can", p.Type)
	}
	return nil
}
