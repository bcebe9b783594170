package points

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func limit(f float64) *float64 { return &f }

func digits(n int) *int { return &n }

func TestFinish(t *testing.T) {
	tests := []struct {
		name   string
		point  Point
		data   []byte
		want   Value
		refuse string
	}{
		{"decimals", Point{Type: Float32, Finish: &Finish{Decimals: digits(1)}}, []byte{0x43, 0x66, 0x1c, 0xac}, Number(230.1), ""},
		{"within", Point{Type: Int16, Finish: &Finish{Min: limit(0), Max: limit(10)}}, []byte{0, 10}, Integer(10), ""},
		{"below", Point{Type: Int16, Finish: &Finish{Min: limit(0)}}, []byte{0xff, 0xff}, Value{}, "-1 is below 0"},
		{"above", Point{Type: Int16, Scale: 0.1, Finish: &Finish{Max: limit(1)}}, []byte{0, 11}, Value{}, "1.1 is above 1"},
		{"cut below", Point{Type: Int16, Finish: &Finish{Min: limit(0), Clamp: true}}, []byte{0xff, 0xff}, Number(0), ""},
		{"cut above", Point{Type: Int16, Finish: &Finish{Max: limit(5), Clamp: true}}, []byte{0, 11}, Number(5), ""},
		{"sentinel", Point{Type: Int16, Finish: &Finish{Absent: []Sentinel{{Raw: 1}, {Raw: 0x8000, Cause: "no sensor"}}}}, []byte{0x80, 0}, Value{}, "no sensor (0x8000)"},
		{"unix", Point{Type: Unix32}, []byte{0x69, 0x7d, 0xf0, 0x40}, Text("2026-01-31T12:06:24Z"), ""},
		{"cp56", Point{Type: CP56}, []byte{0, 26, 0x01, 0xdf, 0x0c, 0x1e, 0x4e, 0x84}, Text("2026-01-31T12:30:20.1"), ""},
		{"cp56 invalid", Point{Type: CP56}, []byte{0, 26, 0x01, 0xdf, 0x0c, 0x9e, 0x4e, 0x84}, Value{}, "its clock as invalid"},
		{"cp56 absent", Point{Type: CP56}, []byte{255, 255, 255, 255, 255, 255, 255, 255}, Value{}, "no value"},
		{"bcd time", Point{Type: BCDTime}, []byte{0x26, 0x01, 0x31, 0x12, 0x30, 0x59}, Text("2026-01-31T12:30:59"), ""},
		{"bcd time of no calendar", Point{Type: BCDTime}, []byte{0x26, 0x02, 0x31, 0x12, 0x30, 0x59}, Value{}, "is not a valid time"},
		{"fields", Point{Type: Fields}, []byte{7, 0xea, 0, 1, 0, 31, 0, 12, 0, 30, 0, 59}, Text("2026-01-31T12:30:59"), ""},
		{"fields of no clock", Point{Type: Fields}, []byte{7, 0xea, 0, 1, 0, 31, 0, 24, 0, 30, 0, 59}, Value{}, "is not a valid time"},
		{"bcd64", Point{Type: BCD64}, []byte{0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56}, Unsigned(1234567890123456), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.point.Area = Holding
			if err := tt.point.Check(); err != nil {
				t.Fatal(err)
			}
			got, err := tt.point.Decode(tt.data)
			switch {
			case got != tt.want:
				t.Fatalf("got %v, %v, want %v", got, err, tt.want)
			case tt.refuse == "" && err != nil, tt.refuse != "" && (!errors.Is(err, ErrNoValue) || !strings.Contains(err.Error(), tt.refuse)):
				t.Fatalf("got %v, want …%s…", err, tt.refuse)
			}
		})
	}
}

func TestFinishRefused(t *testing.T) {
	for want, p := range map[string]Point{
		"is above the maximum":                     {Type: Int16, Finish: &Finish{Min: limit(2), Max: limit(1)}},
		"out of range: 0 to 15":                    {Type: Int16, Finish: &Finish{Decimals: digits(16)}},
		"not both":                                 {Type: Int16, Finish: &Finish{Labels: []Label{{1, "x"}}, Flags: []Label{{1, "x"}}}},
		"bit 16 is beyond the bits of type uint16": {Type: Uint16, Finish: &Finish{Flags: []Label{{16, "x"}}}},
		"float32 cannot have labels":               {Type: Float32, Finish: &Finish{Labels: []Label{{1, "x"}}}},
		"only unscaled integers can":               {Type: Int16, Scale: 2, Finish: &Finish{Flags: []Label{{1, "x"}}}},
		"or decimals":                              {Type: Unix32, Finish: &Finish{Decimals: digits(1)}},
		"cannot be scaled by another":              {Type: Float32, ScaleFrom: "sf"},
		"unix32 cannot have a scale":               {Type: Unix32, ScaleFrom: "sf"},
		"absent value 0x10000 does not fit":        {Type: Int16, Finish: pattern(0x10000)},
		"ymdhms cannot have absent values":         {Type: Fields, Finish: pattern(1)},
	} {
		p.Area = Holding
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

func TestLabels(t *testing.T) {
	state := Point{Type: Uint16, Finish: &Finish{Labels: []Label{{2, "running"}, {0, "off"}}}}
	alarms := Point{Type: Uint32, Finish: &Finish{Flags: []Label{{3, "overvoltage"}, {0, "fan"}}}}
	for want, got := range map[string]string{
		"running": state.Label(Integer(2)), "": state.Label(Integer(1)),
		"fan, overvoltage, bit 5": alarms.Label(Unsigned(0b101001)),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := alarms.Label(Unsigned(0)) + state.Label(Value{}) + (&Point{Type: Bool}).Label(Flag(true)); got != "" {
		t.Errorf("got %q", got)
	}
}

// The labels of values can be written.
func TestEncodesLabels(t *testing.T) {
	bit := 3
	state := Point{Type: Int16, Scale: 0.5, Finish: &Finish{Labels: []Label{{2, "running"}, {-1, "fault"}, {0, "Off"}, {1, "off"}}}}
	alarms := Point{Type: Uint32, Finish: &Finish{Flags: []Label{{3, "overvoltage"}, {0, "fan"}, {4, "hot, or wet"}}}}
	valve := Point{Type: Bool, Finish: &Finish{Labels: []Label{{0, "shut"}, {1, "open"}}}}
	for _, c := range []struct {
		point Point
		text  string
		want  string // in hex, or a part of the error
	}{
		{state, "running", "0004"}, {state, "fault", "fffe"}, {state, "RUNNING", "0004"}, {state, "off", "0002"}, {state, "Off", "0000"},
		{state, "runing", `"runing" is not one of running, fault, Off, off`}, {state, "", "is not one of"},
		{alarms, "fan", "00000001"}, {alarms, "fan, overvoltage", "00000009"}, {alarms, "overvoltage,Fan", "00000009"}, {alarms, "hot, or wet", "00000010"},
		{alarms, "fan, door", `"door" is not one of overvoltage, fan, hot, or wet`},
		{valve, "open", "0001"}, {valve, "shut", "0000"}, {valve, "ajar", "is not one of shut, open"},
		{Point{Type: Int16}, "running", "is not a finite number"},
		{Point{Type: Int16, Finish: &Finish{Min: limit(0)}}, "running", "is not a finite number"},
		{Point{Type: Int16, Finish: &Finish{Max: limit(1), Labels: state.Finish.Labels}}, "running", "2 is above 1"},
	} {
		c.point.Area = Holding
		data, err := c.point.Encode(Text(c.text))
		if got := fmt.Sprintf("%x", data); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %s, %v, want %s", c.text, got, err, c.want)
		}
	}
	part := Point{Area: Holding, Type: Bool, Bit: &bit, Finish: valve.Finish}
	if _, or, err := part.Mask(Text("open")); err != nil || or != 8 {
		t.Errorf("a bit called open: %#x, %v", or, err)
	}
}

// A value written to a point that is scaled by another one reads back the same, for all factors.
func TestScaleFactors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Point{Area: Holding, Type: Int16, ScaleFrom: "sf", Finish: pattern(0x8000)}
		factor := Integer(int64(rapid.IntRange(-10, 10).Draw(t, "factor")))
		raw := Integer(int64(rapid.IntRange(-32767, 32767).Draw(t, "raw")))
		v, err := p.Rescale(raw, factor)
		if err != nil {
			t.Fatal(err)
		}
		q, err := p.Rescaled(factor)
		if err != nil {
			t.Fatal(err)
		}
		data, err := q.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := p.Decode(data); err != nil || back != raw {
			t.Fatalf("%v by %v is %v, came back as %v, %v", raw, factor, v, back, err)
		}
	})
	p := Point{Name: "w", Type: Int16, ScaleFrom: "sf"}
	for _, wrong := range []Value{Integer(11), Integer(-32768), Number(0.5), Text("1"), {}} {
		if v, err := p.Rescale(Integer(1), wrong); !errors.Is(err, ErrNoValue) || v != (Value{}) {
			t.Errorf("%v: got %v, %v", wrong, v, err)
		}
	}
	if v, err := p.Rescale(Integer(2301), Integer(-1)); err != nil || v != Number(230.1) {
		t.Errorf("got %v, %v", v, err)
	}
}
