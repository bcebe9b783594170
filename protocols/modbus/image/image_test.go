package image_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/image"
	"gatewayd/protocols/modbus/points"
)

func point(name, area string, address uint16, form string) image.Point {
	return image.Point{Point: points.Point{Name: name, Area: area, Address: address, Type: form}, Unit: 1, Writable: area == points.Holding || area == points.Coil}
}

func bit(name string, address uint16, n int, writable bool) image.Point {
	p := point(name, points.Holding, address, points.Bool)
	p.Bit, p.Writable = &n, writable
	return p
}

func built(t testing.TB, all []image.Point, fills ...image.Fill) *image.Image {
	t.Helper()
	m, err := image.New(all, fills)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func set(t testing.TB, m *image.Image, index int, v points.Value) {
	t.Helper()
	if err := m.Update([]image.Change{{Index: index, Value: v, Good: true}}); err != nil {
		t.Fatal(err)
	}
}

func read(function uint8, address, quantity uint16) modbus.Request {
	return modbus.Request{Unit: 1, Function: function, Address: address, Quantity: quantity}
}

func registers(function uint8, address uint16, words ...uint16) modbus.Request {
	r := modbus.Request{Unit: 1, Function: function, Address: address, Quantity: uint16(len(words))}
	for _, w := range words {
		r.Data = binary.BigEndian.AppendUint16(r.Data, w)
	}
	return r
}

func TestReads(t *testing.T) {
	all := []image.Point{
		point("power", points.Holding, 10, points.Float32), point("energy", points.Holding, 12, points.Uint32),
		point("mode", points.Coil, 3, points.Bool), point("on", points.DiscreteInput, 0, points.Bool),
		bit("b0", 20, 0, true), bit("b3", 20, 3, false),
		point("temperature", points.Input, 5, points.Int16), point("name", points.Holding, 14, points.String),
	}
	all[0].Order = "cdab"
	all[6].Scale = 0.1
	all[7].Length = 2
	m := built(t, all, image.Fill{Unit: 1, Area: points.Holding, Address: 16, Count: 4}, image.Fill{Unit: 1, Area: points.Coil, Address: 0, Count: 8})
	for i, v := range []points.Value{
		points.Number(1.5), points.Number(100000.4), points.Number(1), points.Flag(true), points.Flag(true), points.Flag(true), points.Number(-12.3), points.Text("ab"),
	} {
		set(t, m, i, v)
	}
	for _, c := range []struct {
		r    modbus.Request
		want string
		code uint8
	}{
		{read(3, 10, 2), "\x04\x00\x00\x3f\xc0", 0},
		{read(3, 12, 2), "\x04\x00\x01\x86\xa0", 0},
		{read(3, 14, 7), "\x0eab\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09", 0},
		{read(4, 5, 1), "\x02\xff\x85", 0},
		{read(1, 0, 8), "\x01\x08", 0},
		{read(2, 0, 1), "\x01\x01", 0},
		{read(1, 0, 9), "", modbus.IllegalAddress},
		{read(3, 9, 2), "", modbus.IllegalAddress},
		{read(3, 20, 2), "", modbus.IllegalAddress},
		{read(4, 0, 1), "", modbus.IllegalAddress},
		{modbus.Request{Unit: 2, Function: 3, Quantity: 1}, "", modbus.IllegalAddress},
	} {
		got, code := m.Read(nil, c.r)
		if code != c.code || code == 0 && string(got) != c.want {
			t.Errorf("%v: got %x and exception %d, want %x and %d", c.r, got, code, c.want, c.code)
		}
	}
}

func TestMissing(t *testing.T) {
	raw := uint64(0x1234)
	all := []image.Point{
		point("refuse", points.Holding, 0, points.Uint16), point("last", points.Holding, 1, points.Uint16),
		point("usual", points.Holding, 2, points.Int16), point("own", points.Holding, 3, points.Uint16), point("nan", points.Holding, 4, points.Float32),
		point("text", points.Holding, 6, points.String), bit("bit", 7, 2, true),
	}
	all[1].Missing = image.Last
	for i := 2; i < len(all); i++ {
		all[i].Missing = image.Sentinel
	}
	all[2].Scale, all[3].Sentinel, all[5].Length = 0.1, &raw, 1
	m := built(t, all)
	word := func(address uint16) (int, uint8) {
		b, code := m.Read(nil, read(3, address, 1))
		if code != 0 {
			return -1, code
		}
		return int(binary.BigEndian.Uint16(b[1:])), 0
	}
	check := func(when string, want ...int) {
		t.Helper()
		for i, w := range want {
			if got, code := word(uint16(i)); got != w || got < 0 && code != modbus.DeviceFailure {
				t.Errorf("%s: register %d is %#x, want %#x", when, i, got, w)
			}
		}
	}
	check("at first", -1, -1, 0x8000, 0x1234, 0x7fc0, 0, 0, 0)
	for i := range all {
		v := points.Number(1)
		if i == 5 {
			v = points.Text("x")
		}
		set(t, m, i, v)
	}
	check("with values", 1, 1, 10, 1, 0x3f80, 0, 0x7800, 4)
	for i := range all {
		_ = m.Update([]image.Change{{Index: i}})
	}
	check("without again", -1, 1, 0x8000, 0x1234, 0x7fc0, 0, 0, 0)
	if err := m.Update([]image.Change{{Index: 0, Value: points.Number(70000), Good: true}}); err == nil || m.Good(0) {
		t.Error("a value that does not fit is good")
	}
}

func TestWrites(t *testing.T) {
	all := []image.Point{
		point("setpoint", points.Holding, 0, points.Int16), point("energy", points.Holding, 1, points.Uint32), point("fixed", points.Holding, 3, points.Uint16),
		bit("b0", 4, 0, true), bit("b1", 4, 1, true), bit("b2", 4, 2, false), point("coil", points.Coil, 0, points.Bool), point("coil2", points.Coil, 1, points.Bool),
	}
	all[0].Scale = 0.1
	all[2].Writable = false
	m := built(t, all, image.Fill{Unit: 1, Area: points.Holding, Address: 5, Count: 2})
	for i := 3; i < 6; i++ {
		set(t, m, i, points.Flag(i == 4))
	}
	f := points.Flag
	for _, c := range []struct {
		name string
		r    modbus.Request
		want []image.Write
		code uint8
	}{
		{"one", registers(6, 0, 0xffff), []image.Write{{0, points.Number(-0.1)}}, 0},
		{"two points", registers(16, 0, 1, 1, 0), []image.Write{{0, points.Number(0.1)}, {1, points.Unsigned(65536)}}, 0},
		{"half a value", registers(6, 1, 1), nil, modbus.IllegalValue},
		{"the other half", registers(16, 0, 1, 1), nil, modbus.IllegalValue},
		{"read only", registers(6, 3, 1), nil, modbus.IllegalAddress},
		{"with a read-only one", registers(16, 1, 0, 0, 1), nil, modbus.IllegalAddress},
		{"fill", registers(6, 5, 1), nil, modbus.IllegalAddress},
		{"nothing there", registers(6, 9, 1), nil, modbus.IllegalAddress},
		{"over the end", registers(16, 6, 1, 1), nil, modbus.IllegalAddress},
		{"bits that change", registers(6, 4, 1), []image.Write{{3, f(true)}, {4, f(false)}}, 0},
		{"bits that stay", registers(6, 4, 2), []image.Write{{3, f(false)}, {4, f(true)}}, 0},
		{"a read-only bit", registers(6, 4, 6), nil, modbus.IllegalAddress},
		{"by mask", modbus.Request{Unit: 1, Function: 22, Address: 4, Data: []byte{0xff, 0xfe, 0, 1}}, []image.Write{{3, f(true)}}, 0},
		{"mask of an unknown value", modbus.Request{Unit: 1, Function: 22, Address: 0, Data: []byte{0xff, 0xfe, 0, 1}}, nil, modbus.DeviceFailure},
		{"coil", modbus.Request{Unit: 1, Function: 5, Address: 1, Data: []byte{0xff, 0}}, []image.Write{{7, f(true)}}, 0},
		{"coils", modbus.Request{Unit: 1, Function: 15, Quantity: 2, Data: []byte{2}}, []image.Write{{6, f(false)}, {7, f(true)}}, 0},
		{"writing half of 23", modbus.Request{Unit: 1, Function: 23, Address: 3, Quantity: 1, WriteAddress: 0, Data: []byte{0, 20}}, []image.Write{{0, points.Number(2)}}, 0},
	} {
		got, code := m.Writes(c.r)
		same := len(got) == len(c.want)
		for i := 0; same && i < len(got); i++ {
			same = got[i] == c.want[i]
		}
		if !same || code != c.code {
			t.Errorf("%s: got %v and exception %d, want %v and %d", c.name, got, code, c.want, c.code)
		}
	}
}

func TestPointsMayNotOverlap(t *testing.T) {
	for name, all := range map[string][]image.Point{
		"registers": {point("a", points.Holding, 0, points.Uint32), point("b", points.Holding, 1, points.Uint16)},
		"bits":      {bit("a", 0, 1, false), bit("b", 0, 1, false)},
		"bit in it": {point("a", points.Holding, 0, points.Uint16), bit("b", 0, 1, false)},
	} {
		if _, err := image.New(all, nil); err == nil || !strings.Contains(err.Error(), "overlap") {
			t.Errorf("%s: %v", name, err)
		}
	}
	built(t, []image.Point{bit("a", 0, 1, false), bit("b", 0, 2, false), point("c", points.Input, 0, points.Uint16)})
}

// A value that is read and written back is unchanged.
func TestValuesComeBack(t *testing.T) {
	forms := []string{
		points.Int16, points.Uint16, points.Int32, points.Uint32, points.Int64, points.Uint64, points.Float32, points.Float64, points.BCD16, points.BCD32,
	}
	rapid.Check(t, func(t *rapid.T) {
		var all []image.Point
		at := uint16(rapid.IntRange(0, 100).Draw(t, "first"))
		first := at
		for i := range rapid.IntRange(1, 20).Draw(t, "points") {
			p := point(string(rune('a'+i)), points.Holding, at, rapid.SampledFrom(forms).Draw(t, "form"))
			at += uint16(p.Registers())
			all = append(all, p)
		}
		m, err := image.New(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]points.Value, len(all))
		var news []image.Change
		for i := range all {
			values[i] = points.Integer(int64(rapid.IntRange(0, 9999).Draw(t, "value")))
			news = append(news, image.Change{Index: i, Value: values[i], Good: true})
		}
		if err := m.Update(news); err != nil {
			t.Fatal(err)
		}
		data, code := m.Read(nil, read(3, first, at-first))
		if code != 0 {
			t.Fatalf("exception %d", code)
		}
		w := modbus.Request{Unit: 1, Function: modbus.WriteMultipleRegisters, Address: first, Quantity: at - first, Data: data[1:]}
		writes, code := m.Writes(w)
		if code != 0 || len(writes) != len(all) {
			t.Fatalf("%d writes, exception %d", len(writes), code)
		}
		for i, one := range writes {
			a, _ := one.Value.Float64()
			b, _ := values[i].Float64()
			if one.Index != i || a != b {
				t.Fatalf("%s: %v came back as %v", all[i].Type, values[i], one.Value)
			}
		}
	})
}

// For any request, an image answers with the requested amount or refuses.
func FuzzImage(f *testing.F) {
	all := []image.Point{
		point("a", points.Holding, 0, points.Float32), point("b", points.Holding, 2, points.Int64), bit("c", 6, 0, true), bit("d", 6, 5, false),
		point("e", points.Coil, 0, points.Bool), point("f", points.Coil, 2, points.Bool), point("g", points.Holding, 8, points.String),
	}
	all[6].Length = 4
	for i := range all {
		all[i].Missing = image.Missing(i % 3)
	}
	m := built(f, all, image.Fill{Unit: 1, Area: points.Coil, Address: 3, Count: 2000}, image.Fill{Unit: 1, Area: points.Holding, Address: 65535, Count: 1})
	set(f, m, 1, points.Integer(5))
	for _, pdu := range [][]byte{
		{1, 0, 0, 0, 5}, {3, 0, 0, 0, 7}, {3, 0xff, 0xff, 0, 1}, {5, 0, 2, 0xff, 0}, {6, 0, 6, 0, 1}, {22, 0, 6, 0, 1, 0, 0}, {15, 0, 0, 0, 1, 1, 1},
		{16, 0, 0, 0, 2, 4, 0x7f, 0xc0, 0, 0}, {23, 0, 0, 0, 2, 0, 8, 0, 1, 2, 'a', 'b'},
	} {
		f.Add(pdu)
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		r, err := modbus.ParseRequest(1, pdu)
		if err != nil {
			return
		}
		if r.Write() {
			writes, code := m.Writes(r)
			if code != 0 && len(writes) > 0 {
				t.Fatalf("%v: %v and exception %d", r, writes, code)
			}
			return
		}
		data, code := m.Read(nil, r)
		if code != 0 {
			return
		}
		if _, err := modbus.AppendResponse(nil, r, modbus.Response{Data: data[1:]}); err != nil || int(data[0]) != len(data)-1 {
			t.Fatalf("%v: %x: %v", r, data, err)
		}
	})
}
