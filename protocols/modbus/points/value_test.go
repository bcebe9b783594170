package points

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		name  string
		point Point
		data  []byte
		want  Value
	}{
		{"coil", Point{Area: Coil, Type: Bool}, []byte{1}, Flag(true)},
		{"register bit", Point{Area: Input, Type: Bool, Bit: bit(9)}, []byte{0x02, 0x00}, Flag(true)},
		{"swapped register bit", Point{Area: Input, Type: Bool, Bit: bit(9), Order: "ba"}, []byte{0x00, 0x02}, Flag(true)},
		{"register as flag", Point{Area: Input, Type: Bool}, []byte{0x02, 0x00}, Flag(true)},
		{"int8 low", Point{Area: Input, Type: Int8}, []byte{0x12, 0xfe}, Integer(-2)},
		{"int8 high", Point{Area: Input, Type: Int8, Byte: HighByte}, []byte{0xfe, 0x12}, Integer(-2)},
		{"int16", Point{Area: Input, Type: Int16}, []byte{0xff, 0xfe}, Integer(-2)},
		{"uint32 big", Point{Area: Input, Type: Uint32, Order: "abcd"}, []byte{1, 2, 3, 4}, Unsigned(0x01020304)},
		{"uint32 little", Point{Area: Input, Type: Uint32, Order: "dcba"}, []byte{4, 3, 2, 1}, Unsigned(0x01020304)},
		{"uint32 byte swap", Point{Area: Input, Type: Uint32, Order: "badc"}, []byte{2, 1, 4, 3}, Unsigned(0x01020304)},
		{"uint32 word swap", Point{Area: Input, Type: Uint32, Order: "cdab"}, []byte{3, 4, 1, 2}, Unsigned(0x01020304)},
		{"uint32 rotated", Point{Area: Input, Type: Uint32, Order: "bcda"}, []byte{2, 3, 4, 1}, Unsigned(0x01020304)},
		{"uint64 word swap", Point{Area: Input, Type: Uint64, Order: "ghefcdab"}, []byte{7, 8, 5, 6, 3, 4, 1, 2}, Unsigned(0x0102030405060708)},
		{"uint64 most", Point{Area: Input, Type: Uint64}, bytes.Repeat([]byte{0xff}, 8), Unsigned(math.MaxUint64)},
		{"int64 least", Point{Area: Input, Type: Int64}, []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, Integer(math.MinInt64)},
		{"float16", Point{Area: Input, Type: Float16}, []byte{0x3c, 0x00}, Number(1)},
		{"float16 least", Point{Area: Input, Type: Float16}, []byte{0x80, 0x01}, Number(-0x1p-24)},
		{"float32 word swap", Point{Area: Input, Type: Float32, Order: WordSwap}, []byte{0x00, 0x00, 0x42, 0xf6}, Number(123)},
		{"bcd16", Point{Area: Input, Type: BCD16}, []byte{0x12, 0x34}, Integer(1234)},
		{"bcd32", Point{Area: Input, Type: BCD32, Order: "cdab"}, []byte{0x56, 0x78, 0x12, 0x34}, Integer(12345678)},
		{"scaled without noise", Point{Area: Input, Type: Uint16, Scale: 0.1}, []byte{0x08, 0xfd}, Number(230.1)},
		{"offset", Point{Area: Input, Type: Uint16, Scale: 0.5, Offset: -40}, []byte{0, 81}, Number(0.5)},
		{"text", Point{Area: Input, Type: String, Length: 3}, []byte("ab \x00zz"), Text("ab")},
		{"swapped text", Point{Area: Input, Type: String, Length: 2, Order: "ba"}, []byte("badc"), Text("abcd")},
		{"text in high bytes", Point{Area: Input, Type: String, Length: 2, Byte: HighByte}, []byte("a1b2"), Text("ab")},
		{"latin text", Point{Area: Input, Type: String, Length: 1}, []byte{0xb0, 'C'}, Text("°C")},
		{"bytes", Point{Area: Input, Type: Bytes, Length: 1}, []byte{0, 7}, Raw([]byte{0, 7})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.point.Check(); err != nil {
				t.Fatal(err)
			}
			if got, err := tt.point.Decode(tt.data); err != nil || got != tt.want {
				t.Fatalf("got %v (kind %d), %v, want %v", got, got.Kind(), err, tt.want)
			}
		})
	}
}

func TestDecodeWithoutValue(t *testing.T) {
	tests := []struct {
		name  string
		point Point
		data  []byte
	}{
		{"NaN", Point{Area: Input, Type: Float32}, []byte{0x7f, 0xc0, 0, 0}},
		{"infinity", Point{Area: Input, Type: Float64}, []byte{0x7f, 0xf0, 0, 0, 0, 0, 0, 0}},
		{"half NaN", Point{Area: Input, Type: Float16}, []byte{0x7e, 0}},
		{"half infinity", Point{Area: Input, Type: Float16}, []byte{0xfc, 0}},
		{"scaled beyond float64", Point{Area: Input, Type: Float64, Scale: 10}, []byte{0x7f, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"bcd with letters", Point{Area: Input, Type: BCD16}, []byte{0x1a, 0}},
		{"absent", Point{Area: Input, Type: Int16, Finish: pattern(0x8000)}, []byte{0x80, 0}},
		{"absent byte", Point{Area: Input, Type: Uint8, Finish: pattern(0xff)}, []byte{0x12, 0xff}},
		{"absent swapped", Point{Area: Input, Type: Uint32, Order: "cdab", Finish: pattern(0x00010002)}, []byte{0, 2, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.point.Check(); err != nil {
				t.Fatal(err)
			}
			if v, err := tt.point.Decode(tt.data); !errors.Is(err, ErrNoValue) || v != (Value{}) {
				t.Fatalf("got %v, %v", v, err)
			}
		})
	}
	if _, err := (Point{Area: Input, Type: Int32}).Decode([]byte{1, 2}); err == nil || errors.Is(err, ErrNoValue) {
		t.Fatalf("short data: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		point Point
		value Value
		want  string
	}{
		{"too great", Point{Type: Uint16}, Integer(65536), "65536 is out of range: 0 to 65535"},
		{"too small", Point{Type: Int32}, Integer(math.MinInt32 - 1), "out of range: -2147483648 to 2147483647"},
		{"negative for unsigned", Point{Type: Uint64}, Integer(-1), "out of range: 0 to 18446744073709551615"},
		{"great for signed", Point{Type: Int64}, Unsigned(1 << 63), "out of range: -9223372036854775808 to 9223372036854775807"},
		{"float beyond 64 bits", Point{Type: Uint64}, Number(1e20), "out of range: 0 to 18446744073709551615"},
		{"scaled", Point{Type: Uint16, Scale: 0.1, Unit: "W"}, Number(7000), "7000 is out of range: 0 to 6553.5 W"},
		{"scaled downwards", Point{Type: Uint16, Scale: -0.1, Offset: 5}, Number(6), "6 is out of range: -6548.5 to 5"},
		{"bcd", Point{Type: BCD16}, Integer(10000), "out of range: 0 to 9999"},
		{"fraction", Point{Type: Int16}, Number(5.4), "5.4 has a fraction, but the point is an integer without scale"},
		{"NaN", Point{Type: Float32}, Number(math.NaN()), "not a finite number"},
		{"infinity", Point{Type: Int16, Scale: 2}, Number(math.Inf(1)), "not a finite number"},
		{"half", Point{Type: Float16}, Number(65505), "65505 is out of range: -65504 to 65504"},
		{"float32", Point{Type: Float32}, Number(1e39), "1e+39 is out of range"},
		{"flag as number", Point{Type: Int16}, Flag(true), `"true" is not a finite number`},
		{"two as flag", Point{Type: Bool}, Integer(2), `"2" is neither true nor false`},
		{"long text", Point{Type: String, Length: 1}, Text("abc"), "3 bytes is longer than the 2"},
		{"blank end", Point{Type: String, Length: 2}, Text("a "), "ends in a blank"},
		{"NUL", Point{Type: String, Length: 2}, Text("\x00"), "holds NUL"},
		{"short bytes", Point{Type: Bytes, Length: 2}, Raw([]byte{1}), "not have the 4 bytes"},
		{"read only", Point{Area: Input, Type: Int16}, Integer(1), "area input is read only"},
		{"part", Point{Type: Uint8}, Integer(1), "only part of a register"},
		{"absent", Point{Type: Uint16, Finish: pattern(65535)}, Integer(65535), "for a missing value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.point.Area == "" {
				tt.point.Area = Holding
			}
			if err := tt.point.Check(); err != nil {
				t.Fatal(err)
			}
			if data, err := tt.point.Encode(tt.value); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %x, %v, want …%s…", data, err, tt.want)
			}
		})
	}
}

func TestEncodeRoundsToTheNearestStep(t *testing.T) {
	p := Point{Area: Holding, Type: Int16, Scale: 0.1}
	for value, want := range map[float64]int16{21.54: 215, 21.56: 216, -21.56: -216, 0.04: 0, 3276.74: 32767} {
		data, err := p.Encode(Number(value))
		if got := int16(binary.BigEndian.Uint16(append(data, 0, 0))); err != nil || got != want {
			t.Errorf("%g: got %d, %v, want %d", value, got, err, want)
		}
	}
}

// Every written value reads back the same, for all types, orders, bytes and bits; parts of a
// register leave the rest unchanged.
func TestValuesRoundTrip(t *testing.T) {
	for _, form := range Types() {
		t.Run(form, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				areas := []string{Holding}
				if form == Bool {
					areas = append(areas, Coil)
				}
				p := drawPoint(t, rapid.SampledFrom(areas).Draw(t, "area"), form)
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				want := drawValue(t, p)
				data := write(t, p, want)
				if got, err := p.Decode(data); err != nil || got != want {
					t.Fatalf("wrote %v as %x, read %v, %v", want, data, got, err)
				}
			})
		})
	}
}

func write(t *rapid.T, p Point, v Value) []byte {
	if !p.Partial() {
		data, err := p.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if _, err := p.Encode(v); !errors.Is(err, ErrPartial) {
		t.Fatalf("a part was encoded whole: %v", err)
	}
	current := rapid.SliceOfN(rapid.Byte(), 2, 2).Draw(t, "current")
	data, err := p.Merge(current, v)
	and, or, maskErr := p.Mask(v)
	if err != nil || maskErr != nil {
		t.Fatal(err, maskErr)
	}
	before, after := binary.BigEndian.Uint16(current), binary.BigEndian.Uint16(data)
	if after != before&and|or&^and || before&and != after&and {
		t.Fatalf("mask %04x %04x turned %04x into %04x", and, or, before, after)
	}
	return data
}

// A scaled write results in a value within half a step of the requested one, or is refused if that
// is really out of range.
func TestScaledValuesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form := rapid.SampledFrom([]string{Int16, Uint16, Int32, Uint32, BCD16, BCD32}).Draw(t, "type")
		p := drawPoint(t, Holding, form)
		p.Scale = rapid.SampledFrom([]float64{0.001, 0.01, 0.1, 0.5, 2, 10, -0.1, 0.3}).Draw(t, "scale")
		p.Offset = float64(rapid.IntRange(-1000, 1000).Draw(t, "offset"))
		least, most, _ := bounds(form)
		raw := rapid.Float64Range(float64(least)-2, float64(most)+2).Draw(t, "raw")
		want := p.toValue(raw)
		data, err := p.Encode(Number(want))
		if err != nil {
			if raw > float64(least)-0.4 && raw < float64(most)+0.4 {
				t.Fatalf("%g refused: %v", want, err)
			}
			return
		}
		got, err := p.Decode(data)
		f, ok := got.Float64()
		if err != nil || !ok || !near(f, want, math.Abs(p.Scale)*0.5001+1e-6) {
			t.Fatalf("wrote %g, read %v, %v", want, got, err)
		}
	})
}

// The named orders agree with encoding/binary and simple swapping of bytes and words.
func TestOrdersAgreeWithPlainSwaps(t *testing.T) {
	swapBytes := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		form := rapid.SampledFrom([]string{Uint16, Uint32, Uint64}).Draw(t, "type")
		_, most, _ := bounds(form)
		value := rapid.Uint64Range(0, most).Draw(t, "value")
		size := width(form)
		little := binary.LittleEndian.AppendUint64(nil, value)[:size]
		big := binary.BigEndian.AppendUint64(nil, value)[8-size:]
		words, swapped := slices.Clone(little), slices.Clone(big)
		swapBytes(words)
		swapBytes(swapped)
		for order, want := range map[string][]byte{BigEndian: big, LittleEndian: little, ByteSwap: swapped, WordSwap: words} {
			p := Point{Area: Holding, Type: form, Order: order}
			if got, err := p.Encode(Unsigned(value)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: got %x, %v, want %x", order, got, err, want)
			}
		}
	})
	for name, letters := range map[string][3]string{
		BigEndian:    {"ab", "abcd", "abcdefgh"},
		LittleEndian: {"ba", "dcba", "hgfedcba"},
		ByteSwap:     {"ba", "badc", "badcfehg"},
		WordSwap:     {"ab", "cdab", "ghefcdab"},
	} {
		for _, spelt := range letters {
			a, err := OrderOf(name, len(spelt))
			b, spelling := OrderOf(spelt, len(spelt))
			if err != nil || spelling != nil || !slices.Equal(a, b) {
				t.Errorf("%s is %v, %s is %v: %v %v", name, a, spelt, b, err, spelling)
			}
		}
	}
}

// Every binary16 survives conversion to float64 and back, and numbers between two of them are
// rounded to the nearer one.
func TestHalves(t *testing.T) {
	for h := range 1 << 16 {
		f := fromHalf(uint16(h))
		if h>>10&0x1f == 31 {
			if !math.IsNaN(f) && !math.IsInf(f, 0) {
				t.Fatalf("%04x is %g", h, f)
			}
			continue
		}
		if got := toHalf(f); got != uint16(h) {
			t.Fatalf("%04x is %g is %04x", h, f, got)
		}
		if h&0x7fff < 0x7bff {
			next := fromHalf(uint16(h + 1))
			if got := toHalf(f + (next-f)*0.49); got != uint16(h) {
				t.Fatalf("just above %04x: %04x", h, got)
			}
			if got := toHalf(f + (next-f)*0.51); got != uint16(h+1) {
				t.Fatalf("just below %04x: %04x", h+1, got)
			}
		}
	}
}

// For any bytes of a device, decoding returns a finite value or an error, and a value that can be
// written reads back the same.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(0), "cdab", 0.1, []byte{1, 2, 3, 4})
	f.Add(uint8(14), "ba", 0.0, []byte("meter\x00"))
	f.Add(uint8(11), "", 1.0, []byte{0x7f, 0xf8, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, form uint8, order string, scale float64, data []byte) {
		p := Point{Area: Holding, Type: Types()[int(form)%len(Types())], Order: order, Scale: scale, Length: len(data) / 2}
		if p.Type != String && p.Type != Bytes {
			p.Length = 0
		}
		if p.Check() != nil {
			return
		}
		v, err := p.Decode(data)
		if err != nil {
			return
		}
		if n, ok := v.Float64(); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
			t.Fatalf("%x is %v", data, v)
		}
		again, err := p.Encode(v)
		if err != nil || p.scaled() {
			return
		}
		if back, err := p.Decode(again); err != nil || back != v {
			t.Fatalf("%v came back as %v, %v", v, back, err)
		}
	})
}
