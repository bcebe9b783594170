package scan_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/scan"
)

// run sweeps with the result of answer for each request.
func run(t interface{ Fatal(...any) }, c scan.Config, answer func(modbus.Request) (modbus.Response, error)) (all []*scan.Found, sent []modbus.Request) {
	s := scan.New(c)
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		if sent = append(sent, r); len(sent) > 10000 {
			t.Fatal("it has no end")
		}
		if err := r.Check(modbus.TCP); err != nil {
			t.Fatal(err)
		}
		resp, err := answer(r)
		if f := s.Done(resp, err, time.Millisecond); f != nil {
			all = append(all, f)
		}
		if asked, total := s.Progress(); asked > total {
			t.Fatal("progress", asked, "of", total)
		}
	}
	return all, sent
}

func silence(modbus.Request) (modbus.Response, error) { return modbus.Response{}, modbus.ErrTimeout }

func TestFindsUnits(t *testing.T) {
	refuse := func(r modbus.Request, code uint8) error { return &modbus.Exception{Function: r.Function, Code: code} }
	sunspec := scan.Mark{Profile: "sunspec", Address: 40000, Values: []uint16{0x5375, 0x6e53}}
	acme := scan.Mark{Profile: "acme-1", Vendor: "acme", Product: "M-1"}
	other := scan.Mark{Profile: "acme-2", Vendor: "acme", Product: "M-2"}
	identity := modbus.AppendIdentification(nil, modbus.RegularIdentification, modbus.Identification{Conformity: 1, Objects: []modbus.Object{
		{ID: 0, Value: []byte("ACME Corp")}, {ID: 1, Value: []byte("M-1 x")},
	}})
	units := map[uint8]func(modbus.Request) (modbus.Response, error){
		3: func(r modbus.Request) (modbus.Response, error) { // supports nothing but its registers
			if r.Function == modbus.ReadHoldingRegisters && r.Address == 40000 {
				return modbus.Response{Data: []byte("SunS")}, nil
			}
			return modbus.Response{}, refuse(r, modbus.IllegalFunction)
		},
		7: func(r modbus.Request) (modbus.Response, error) {
			switch r.Function {
			case modbus.EncapsulatedInterface:
				return modbus.Response{Data: identity}, nil
			case modbus.ReportServerID:
				return modbus.Response{Data: []byte{7, 0xff, 'x'}}, nil
			}
			return modbus.Response{Data: make([]byte, 2*r.Quantity)}, nil
		},
		9: func(modbus.Request) (modbus.Response, error) { return modbus.Response{}, modbus.ErrCorrupt },
		11: func(r modbus.Request) (modbus.Response, error) {
			return modbus.Response{}, refuse(r, modbus.GatewayTarget)
		},
	}
	all, _ := run(t, scan.Config{Units: []uint8{1, 3, 7, 7, 9, 11}, Marks: []scan.Mark{sunspec, acme, other}}, func(r modbus.Request) (modbus.Response, error) {
		if f := units[r.Unit]; f != nil {
			return f(r)
		}
		return silence(r)
	})
	if len(all) != 3 {
		t.Fatalf("%d found", len(all))
	}
	if f := all[0]; f.Unit != 3 || f.Said != "exception 1: illegal function" || !slices.Equal(f.Profiles, []string{"sunspec"}) || f.Objects != nil {
		t.Errorf("%+v", f)
	}
	if f := all[1]; f.Unit != 7 || f.Said != "" || !slices.Equal(f.Profiles, []string{"acme-1"}) || !bytes.Equal(f.ServerID, []byte{7, 0xff, 'x'}) {
		t.Errorf("%+v", f)
	}
	if f := all[2]; f.Unit != 9 || f.Said == "" || f.Profiles != nil {
		t.Errorf("%+v", f)
	}
}

// A unit that answers only while the next one is asked is found nevertheless.
func TestFindsASlowUnit(t *testing.T) {
	all, _ := run(t, scan.Config{Units: []uint8{4, 5, 6}, Wait: 100 * time.Millisecond}, func(r modbus.Request) (modbus.Response, error) {
		switch {
		case r.Unit == 4 && r.Timeout >= 400*time.Millisecond:
			return modbus.Response{Data: make([]byte, 2)}, nil
		case r.Unit == 5 && r.Function == modbus.ReadHoldingRegisters:
			return modbus.Response{}, modbus.ErrMismatch
		}
		return silence(r)
	})
	if len(all) != 1 || all[0].Unit != 4 {
		t.Fatalf("%+v", all)
	}
}

// Whatever the answers, a sweep ends, asks every address, and finds each unit at most once.
func TestEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.SliceOfN(rapid.Uint8Range(1, 247), 1, 20).Draw(t, "units")
		c := scan.Config{Units: units, Marks: []scan.Mark{{Profile: "a", Address: 65535, Values: []uint16{1, 2}}, {Profile: "b", Values: []uint16{1}}, {Profile: "c"}}}
		found, sent := run(t, c, func(r modbus.Request) (modbus.Response, error) {
			switch rapid.IntRange(0, 5).Draw(t, "answer") {
			case 0:
				return modbus.Response{}, modbus.ErrTimeout
			case 1:
				return modbus.Response{}, modbus.ErrCorrupt
			case 2:
				return modbus.Response{}, fmt.Errorf("read: %w", modbus.ErrMismatch)
			case 3:
				return modbus.Response{}, &modbus.Exception{Function: r.Function, Code: rapid.Uint8Range(1, 11).Draw(t, "code")}
			}
			if r.Function == modbus.EncapsulatedInterface {
				more := rapid.Bool().Draw(t, "more")
				id := modbus.Identification{Conformity: 2, More: more, Next: rapid.Uint8().Draw(t, "next"), Objects: []modbus.Object{{ID: r.Data[2], Value: []byte("x")}}}
				return modbus.Response{Data: modbus.AppendIdentification(nil, r.Data[1], id)}, nil
			}
			return modbus.Response{Data: make([]byte, 2*r.Quantity)}, nil
		})
		seen := map[uint8]bool{}
		for _, f := range found {
			if seen[f.Unit] {
				t.Fatalf("unit %d is found twice", f.Unit)
			}
			seen[f.Unit] = true
		}
		for _, u := range units {
			if !slices.ContainsFunc(sent, func(r modbus.Request) bool { return r.Unit == u }) {
				t.Fatalf("unit %d was not asked", u)
			}
		}
	})
}
