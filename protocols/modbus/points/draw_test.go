package points

import (
	"math"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// drawPoint draws a valid point of a type anywhere in the area.
func drawPoint(t *rapid.T, area string, form string) Point {
	p := Point{Name: "p", Area: area, Type: form}
	if p.Bits() {
		p.Address = rapid.Uint16().Draw(t, "address")
		return p
	}
	switch form {
	case String, Bytes:
		p.Length = rapid.IntRange(1, 20).Draw(t, "length")
	case Bool:
		if rapid.Bool().Draw(t, "whole") {
			break
		}
		bit := rapid.IntRange(0, 15).Draw(t, "bit")
		p.Bit = &bit
	}
	if form == Int8 || form == Uint8 || form == String {
		p.Byte = rapid.SampledFrom([]string{"", LowByte, HighByte}).Draw(t, "byte")
	}
	p.Address = uint16(rapid.IntRange(0, 65536-p.Registers()).Draw(t, "address"))
	p.Order = drawOrder(t, p.unit())
	return p
}

func drawOrder(t *rapid.T, bytes int) string {
	if rapid.Bool().Draw(t, "named order") {
		return rapid.SampledFrom([]string{"", BigEndian, LittleEndian, ByteSwap, WordSwap}).Draw(t, "order")
	}
	return string(rapid.Permutation([]byte(alphabet(bytes))).Draw(t, "order"))
}

// drawValue draws a value that an unscaled point of this type can hold exactly.
func drawValue(t *rapid.T, p Point) Value {
	switch p.Type {
	case Bool:
		return Flag(rapid.Bool().Draw(t, "flag"))
	case String:
		room := p.size()
		if p.Byte != "" {
			room = p.Length
		}
		s := rapid.StringN(0, -1, room).Draw(t, "text")
		return Text(strings.TrimRight(strings.ReplaceAll(s, "\x00", "0"), " "))
	case Bytes:
		return Raw(rapid.SliceOfN(rapid.Byte(), p.size(), p.size()).Draw(t, "raw"))
	case Float16:
		return Number(fromHalf(rapid.Uint16().Filter(func(h uint16) bool { return h>>10&0x1f != 31 }).Draw(t, "half")))
	case Float32:
		return Number(widen(rapid.Float32().Draw(t, "float")))
	case Float64:
		return Number(rapid.Float64().Draw(t, "double"))
	}
	if IsTime(p.Type) {
		return drawTime(t, p.Type)
	}
	least, most, _ := bounds(p.Type)
	if least < 0 && rapid.Bool().Draw(t, "negative") {
		return Integer(rapid.Int64Range(least, -1).Draw(t, "integer"))
	}
	return Unsigned(rapid.Uint64Range(0, most).Draw(t, "unsigned"))
}

// drawTime draws a time that the type can hold.
func drawTime(t *rapid.T, form string) Value {
	seconds := rapid.Int64Range(946684800, 1<<32-1).Draw(t, "seconds") // 2000 to 2106
	at := time.Unix(seconds, 0).UTC()
	switch form {
	case Unix32, Unix64:
		return Text(at.Format(utcTime))
	case CP56:
		at = at.Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "ms")) * time.Millisecond)
	case BCDTime:
		at = at.AddDate(-7, 0, 0)
		if at.Year() < 2000 {
			at = at.AddDate(7, 0, 0)
		}
	}
	return Text(at.Format(localTime))
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }
