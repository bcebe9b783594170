package image_test

import (
	"testing"

	"gatewayd/protocols/modbus/image"
	"gatewayd/protocols/modbus/points"
)

// For every type and byte order, masters read the value that was set, and nothing that could be
// mistaken for a value if there is none.
func TestEveryTypeIsShownAndMissing(t *testing.T) {
	values := map[string]points.Value{
		points.Bool: points.Flag(true), points.String: points.Text("ab"),
		points.Unix32: points.Text("2026-01-31T12:00:00Z"), points.Unix64: points.Text("2126-01-31T12:00:00Z"),
		points.CP56: points.Text("2026-01-31T12:00:00.5"), points.BCDTime: points.Text("2026-01-31T12:00:59"), points.Fields: points.Text("2026-01-31T12:00:59"),
	}
	for _, form := range points.Types() {
		if form == points.Bytes { // not a value of the bus
			continue
		}
		for _, order := range []string{"", points.WordSwap, points.ByteSwap, points.LittleEndian} {
			p := point(form, points.Holding, 10, form)
			p.Missing, p.Order = image.Sentinel, order
			if form == points.String {
				p.Length = 1
			}
			if form == points.Bool {
				p = bit(form, 10, 3, true)
				p.Missing = image.Sentinel
			}
			want, ok := values[form]
			if !ok {
				want = points.Integer(17)
			}
			m := built(t, []image.Point{p})
			decoded := func() (points.Value, error) {
				data, code := m.Read(nil, read(3, 10, uint16(p.Registers())))
				if code != 0 {
					t.Fatalf("%s %s: exception %d", form, order, code)
				}
				return p.Decode(data[1:])
			}
			// The last second of Unix32 is in 2106.
			if v, err := decoded(); err == nil && points.IsTime(form) && form != points.Unix32 {
				t.Errorf("%s %s: %s stands for no value", form, order, v)
			}
			set(t, m, 0, want)
			if v, err := decoded(); err != nil || v.String() != want.String() {
				t.Errorf("%s %s: %s is read as %s: %v", form, order, want, v, err)
			}
		}
	}
}

func TestALongTimeHasNoSentinelOfItsOwn(t *testing.T) {
	raw := uint64(1)
	for _, form := range []string{points.BCDTime, points.Fields} {
		p := point(form, points.Holding, 0, form)
		p.Sentinel = &raw
		if _, err := image.New([]image.Point{p}, nil); err == nil {
			t.Errorf("%s with a sentinel of 64 bits is taken", form)
		}
	}
}
