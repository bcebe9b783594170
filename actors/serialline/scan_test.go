package serialline_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/bus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial/line"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

const linePath = "field/line"

// scanned calls Scan and returns the units found; each is called with every response.
func scanned(ctx context.Context, t *testing.T, r *actorstest.Rig, m *modbusv1.ScanRequest, each func(*modbusv1.ScanResponse) error) ([]*modbusv1.FoundUnit, error) {
	t.Helper()
	var found []*modbusv1.FoundUnit
	err := r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, linePath, "Scan"), m, func(msg bus.Msg) error {
		one := &modbusv1.ScanResponse{}
		if err := msg.Decode(one); err != nil {
			return err
		}
		if one.Found != nil {
			found = append(found, one.Found)
		}
		return each(one)
	})
	return found, err
}

func units(from, to uint32) (all []uint32) {
	for u := from; u <= to; u++ {
		all = append(all, u)
	}
	return all
}

// A poll keeps all its slots while a scan looks for other units on the line, among them a
// third-party device.
func TestAScanBetweenThePolls(t *testing.T) {
	polled, busy := meter(2), meter(9)
	busy.Behave(sim.Behaviour{Exception: 6})
	polled.Identity(map[uint8]string{0: "Acme", 1: "M-2"})
	w := wired(t, line.Options{Baud: 38400, FourWire: true}, polled, busy)
	foreign(t, w)
	r := actorstest.New(t)
	cfg := config(w)
	cfg.Baud = 38400
	r.Start(linePath, serialline.Kind, cfg)
	marks := []*modbusv1.Mark{
		{Profile: "acme", Identify: &modbusv1.Identify{VendorName: "acme", ProductCode: "M-2"}},
		{Profile: "other", Identify: &modbusv1.Identify{Area: "holding", Address: 7, Values: []uint32{1}}},
	}
	all := &modbusv1.ScanRequest{Units: []uint32{1, 2, 3, 7, 8, 9}, Wait: durationpb.New(500 * time.Millisecond), Marks: marks}
	for peer := 0; peer == 0; { // it may still be starting
		found, err := scanned(t.Context(), t, r, &modbusv1.ScanRequest{Units: []uint32{7}, Wait: durationpb.New(3 * time.Second)}, nothing)
		if peer = len(found); err != nil {
			t.Fatal(err)
		}
	}
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	cell := r.Start("field/meter", modbusunit.Kind, &modbusv1.Unit{
		Link: linePath, Unit: 2, Every: durationpb.New(2 * time.Second), Points: []*modbusv1.Point{{Name: "x", Address: 5, Type: "uint16"}},
	})
	first := actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return s.Samples[0].Quality == "" })
	found, err := scanned(t.Context(), t, r, all, nothing)
	if err != nil || len(found) != 3 || found[0].Unit != 2 || found[1].Unit != 7 || found[2].Unit != 9 {
		t.Fatalf("%v, %v", found, err)
	}
	if f := found[0]; len(f.Profiles) != 1 || f.Profiles[0] != "acme" || f.Said != "" {
		t.Errorf("%v", f)
	}
	if f := found[1]; len(f.Objects) != 6 || f.Objects[0].Value != "Acme" || !strings.HasPrefix(f.ServerId, "Acme-M-1") {
		t.Errorf("%v", f)
	}
	if f := found[2]; !strings.HasPrefix(f.Said, "exception 6") {
		t.Errorf("%v", f)
	}
	for next := first; next.Sequence < first.Sequence+3; {
		if next = actorstest.Next(t, data); next.Samples[0].Quality != "" {
			t.Errorf("%v", next)
		}
	}
	if n := cell.Counters().MissedTicks; n != 0 {
		t.Errorf("%d slots were missed", n)
	}
}

func nothing(*modbusv1.ScanResponse) error { return nil }

// foreign puts a pymodbus server on the wire, as unit 7.
func foreign(t *testing.T, w *line.Line) {
	t.Helper()
	const python = "/usr/bin/python3"
	if text, err := exec.Command(python, "-c", "import pymodbus, serial").CombinedOutput(); err != nil {
		t.Fatalf("pymodbus is missing: apt-get install -y python3-pymodbus python3-serial\n%s", text)
	}
	own, err := line.New(line.Options{Dir: t.TempDir(), Name: "tty", Unpaced: true})
	if err != nil {
		t.Fatal(err)
	}
	near, far := w.Tap(), own.Tap()
	var done [2]chan struct{}
	for i, way := range [][2]*line.Tap{{near, far}, {far, near}} {
		done[i] = make(chan struct{})
		go func() {
			defer close(done[i])
			_, _ = io.Copy(way[0], way[1])
		}()
	}
	c := exec.Command(python, "../../protocols/modbus/testdata/server.py", "rtu", own.Path())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = near.Close()
		_ = own.Close()
		<-done[0]
		<-done[1]
	})
}

// When the caller disconnects, no further unit is asked.
func TestAScanEndsWithItsCaller(t *testing.T) {
	near, far := meter(3), meter(200)
	w := wired(t, line.Options{Unpaced: true}, near, far)
	for name, suspend := range map[string]bool{"between the polls": false, "suspended": true} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			cell := r.Start(linePath, serialline.Kind, config(w))
			r.Until("open", func() bool { return cell.State() == actors.OK })
			enough := errors.New("enough")
			var seen atomic.Int64
			_, err := scanned(t.Context(), t, r, &modbusv1.ScanRequest{Wait: durationpb.New(20 * time.Millisecond), Suspend: suspend}, func(*modbusv1.ScanResponse) error {
				if seen.Add(1) > 5 {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
			r.Until("the line is well", func() bool { return cell.State() == actors.OK })
			found, err := scanned(t.Context(), t, r, &modbusv1.ScanRequest{Units: []uint32{3}}, nothing)
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			if n := far.Counters().Requests; n != 0 {
				t.Errorf("unit 200 was asked %d times", n)
			}
		})
	}
}

// Other settings are tried while the line is suspended, and the configured ones are restored.
func TestAScanAtOtherSettings(t *testing.T) {
	d := meter(4)
	w := wired(t, line.Options{Baud: 9600}, d)
	r := actorstest.New(t)
	cfg := config(w)
	cfg.Baud, cfg.Parity = 19200, "even"
	cell := r.Start(linePath, serialline.Kind, cfg)
	r.Until("open", func() bool { return cell.State() == actors.OK })
	links := actorstest.Watch(r, "state/field/line/link", &modbusv1.LinkState{})
	found, err := scanned(t.Context(), t, r, &modbusv1.ScanRequest{
		Units: units(3, 5), Bauds: []uint32{19200, 9600}, Suspend: true, Wait: durationpb.New(100 * time.Millisecond),
	}, nothing)
	if err != nil || len(found) != 1 || found[0].Unit != 4 || found[0].Baud != 9600 || found[0].Parity != "even" {
		t.Fatalf("%v, %v", found, err)
	}
	actorstest.NextWhere(t, links, func(l *modbusv1.LinkState) bool { return !l.Up && strings.Contains(l.Cause, "suspended") })
	actorstest.NextWhere(t, links, func(l *modbusv1.LinkState) bool { return l.Up && strings.HasSuffix(l.Target, " 19200 8E1") })
	for name, m := range map[string]*modbusv1.ScanRequest{
		"need suspend": {Bauds: []uint32{9600}}, "parities": {Parities: []string{"mark"}, Suspend: true},
		"baud 20 is not within": {Bauds: []uint32{20}, Suspend: true}, "256 is not a unit address": {Units: []uint32{256}},
	} {
		if _, err := scanned(t.Context(), t, r, m, nothing); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
}
