package points

import (
	"math"
	"strings"
	"testing"
)

func bit(n int) *int { return &n }

func pattern(u uint64) *Finish { return &Finish{Absent: []Sentinel{{Raw: u}}} }

func TestCheckSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name  string
		point Point
		want  string // "": the point is valid
	}{
		{"plain", Point{Area: Holding, Type: Uint16}, ""},
		{"last register", Point{Area: Input, Address: 65535, Type: Int16}, ""},
		{"last coil", Point{Area: Coil, Address: 65535, Type: Bool}, ""},
		{"upper case order", Point{Area: Input, Type: Float32, Order: "CDAB"}, ""},
		{"named order on any width", Point{Area: Input, Type: Uint8, Order: WordSwap}, ""},
		{"unknown area", Point{Area: "register", Type: Int16}, `area "register" is not one of`},
		{"unknown type", Point{Area: Input, Type: "real"}, `type "real" is not one of bool, int8`},
		{"float coil", Point{Area: Coil, Type: Float32}, "area coil cannot be float32"},
		{"string discrete", Point{Area: DiscreteInput, Type: String, Length: 2}, "area discrete-input cannot be string"},
		{"beyond the end", Point{Area: Holding, Address: 65535, Type: Float32}, "address 65535 with 2 registers ends beyond 65535"},
		{"no length", Point{Area: Holding, Type: String}, "length 0 of string is outside 1 to 125"},
		{"too long", Point{Area: Holding, Type: Bytes, Length: 126}, "length 126 of bytes is outside 1 to 125"},
		{"length of a number", Point{Area: Holding, Type: Int32, Length: 2}, "int32 has a fixed length"},
		{"order too short", Point{Area: Holding, Type: Float64, Order: "cdab"}, `order "cdab" has 4 letters; for 8 bytes give a permutation of "abcdefgh"`},
		{"order repeats", Point{Area: Holding, Type: Int32, Order: "aacd"}, `order "aacd" is not a permutation of "abcd"`},
		{"order of a bit", Point{Area: Coil, Type: Bool, Order: "ab"}, "a single bit has no byte order"},
		{"bit of an int", Point{Area: Holding, Type: Int16, Bit: bit(3)}, "bit 3 of a register needs type bool, not int16"},
		{"bit of a coil", Point{Area: Coil, Type: Bool, Bit: bit(3)}, "coil is a bit already"},
		{"bit 16", Point{Area: Holding, Type: Bool, Bit: bit(16)}, "bit 16 is outside 0 to 15"},
		{"byte of an int16", Point{Area: Holding, Type: Int16, Byte: LowByte}, "not int16"},
		{"byte middle", Point{Area: Holding, Type: Int8, Byte: "middle"}, "neither low nor high"},
		{"scaled text", Point{Area: Holding, Type: String, Length: 2, Scale: 2}, "string cannot have a scale or an offset"},
		{"NaN scale", Point{Area: Holding, Type: Int16, Scale: math.NaN()}, "must be finite"},
		{"tiny scale", Point{Area: Holding, Type: Int16, Scale: 5e-324}, "too small"},
		{"wide absent", Point{Area: Holding, Type: Int16, Finish: pattern(0x18000)}, "absent value 0x18000 does not fit into type int16"},
		{"absent bool", Point{Area: Holding, Type: Bool, Finish: pattern(1)}, "bool cannot have absent values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.point.Name = "it"
			err := tt.point.Check()
			switch {
			case tt.want == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), `point "it": `)):
				t.Fatalf("got %v, want …%s…", err, tt.want)
			}
		})
	}
}
