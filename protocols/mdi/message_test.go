package mdi

import (
	"bytes"
	"errors"
	"testing"

	"gatewayd/protocols/record"
)

func FuzzDecode(f *testing.F) {
	for _, m := range []Message{
		&Open{Version: 1, Gateway: "g", Keepalive: 60, Unsettled: []Range{{1, 2, 3}}}, &Opened{Version: 1, Window: 1}, &Close{}, &Keepalive{true},
		&Track{1, "t", []Field{{1, "a", "V"}}}, &Boot{0, "b"}, &Acknowledge{[]Range{{1, 2, 3}}, []Refusal{{1, 2, "x"}}}, &Command{1, "a", "M", []byte("{}")},
		&Answer{ID: 1, Failed: "x"}, Pack(meterRecords(3), func(string) uint8 { return 0 }),
	} {
		b, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	names, _ := names(meterRecords(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, skipped, err := decode(b)
		if err != nil || skipped {
			return
		}
		again, err := Encode(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is %+v, which is %x, %v", b, m, again, err)
		}
		if batch, ok := m.(*Batch); ok {
			all, err := names.Unpack(batch)
			if rows, _ := batch.size(); err == nil && len(all) != rows {
				t.Fatalf("%d records in %d rows", len(all), rows)
			}
		}
	})
}

// meterRecords returns records of one meter.
func meterRecords(n int) []record.Record {
	var all []record.Record
	for i := range n {
		all = append(all, record.Record{Track: "tracks/meter", Number: 1, Sequence: uint64(i + 1), Time: epoch, Boot: "b", Fields: []record.Field{
			{Name: "voltage", ID: 1, Unit: "V", Value: 230.1 + float64(i)}, {Name: "state", ID: 2, Value: "on"},
		}})
	}
	return all
}

// later returns bits that a later version of the module would send.
func later(write func(c *coder)) []byte {
	c := &coder{writing: true}
	write(c)
	return c.buf
}

func (c *coder) put(bits string) {
	for _, b := range bits {
		v := uint64(b - '0')
		c.bits(&v, 1)
	}
}

func TestLaterVersions(t *testing.T) {
	o := newOracle(t, "per")
	// Keepalive with an additional component of 3 octets: asn1c cannot skip others.
	added := later(func(c *coder) {
		c.put("0" + "0011" + "1" + "1" + "0000000" + "1" + "00000011" + "111100001111000011110000")
	})
	plain, _ := Encode(&Keepalive{true})
	if m, err := Decode(added); err != nil || !m.(*Keepalive).Answer {
		t.Errorf("%+v, %v", m, err)
	}
	if theirs := o.ask(added); !bytes.Equal(theirs, plain) {
		t.Errorf("asn1c takes it as %x", theirs)
	}
	if m, err := Decode(later(func(c *coder) { c.put("1" + "0000000" + "00000001" + "10101010") })); !errors.Is(err, ErrUnknown) {
		t.Errorf("a kind of message to come: %+v, %v", m, err)
	}
	for name, bits := range map[string]string{
		"a kind without its octets":  "1" + "0000000" + "00000010" + "10101010",
		"more octets than there are": "0" + "0011" + "1" + "1" + "0000000" + "1" + "01111111" + "1111",
		"a form to come":             "0" + "0110" + "0" + zeros(42) + "00000000" + "0" + zeros(32) + "0000000100000001" + zeros(8) + "0" + "0000000100000000" + "0000000001" + zeros(14) + "1" + "0000000" + "00000000",
		"padding":                    "0" + "0011" + "0" + "1" + "1",
		"octets too many":            "0" + "0011" + "0" + "1" + zeros(9),
		"nothing":                    "",
	} {
		if m, err := Decode(later(func(c *coder) { c.put(bits) })); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func zeros(n int) string { return string(bytes.Repeat([]byte{'0'}, n)) }

func TestTooMuch(t *testing.T) {
	row := Row{Step: Even}
	for name, m := range map[string]Message{
		"a long text":   &Boot{0, string(make([]byte, maxOctets+1))},
		"a long batch":  &Batch{Blocks: make([]Block, 256)},
		"no block":      &Batch{},
		"many cells":    &Batch{Blocks: []Block{{Columns: make([]Column, 600), Rows: make([]Row, 200)}}},
		"many rows":     &Batch{Blocks: []Block{{Rows: make([]Row, 255)}, {Rows: make([]Row, 255)}, {Rows: make([]Row, 255)}, {Rows: make([]Row, 255)}, {Rows: []Row{row, row, row, row, row}}}},
		"many octets":   &Track{Fields: []Field{{Name: string(make([]byte, maxOctets))}, {Name: string(make([]byte, maxOctets))}, {Name: string(make([]byte, maxOctets))}, {Name: string(make([]byte, maxOctets))}, {Name: string(make([]byte, maxOctets))}}},
		"no UTF-8":      &Boot{0, "\xff"},
		"a large field": &Track{Fields: []Field{{ID: maxFieldID + 1}}},
	} {
		if b, err := Encode(m); err == nil {
			t.Errorf("%s: %d octets", name, len(b))
		}
	}
}
