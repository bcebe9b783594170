package modbusunit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestAFailureTellsTheLastFrames(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		failed := actorstest.Watch(r, "event/"+unitPath+"/failed", &modbusv1.Failed{})
		cell := r.Start(unitPath, modbusunit.Kind, config())
		actorstest.NextWhere(t, data, good)
		d.Behave(sim.Behaviour{Silent: true})
		for _, state := range []string{actors.Degraded, actors.Unreachable} {
			m := actorstest.Next(t, failed)
			if m.State != state || !strings.Contains(m.Cause, "timeout") || m.Framing != "tcp" || m.Began == nil || m.Time == nil {
				t.Errorf("%v", m)
			}
			file, err := record.NewReader(strings.NewReader("modbus-record 1\nframing " + m.Framing + "\n" + strings.Join(m.Frames, "\n")))
			if err != nil {
				t.Fatalf("%v: %v", err, m.Frames)
			}
			silent, asked := 0, 0
			for e, err := file.Next(); err == nil; e, err = file.Next() {
				if e.Mark == modbus.Silent && e.Note == "unit 7: no answer" {
					silent++
				}
				if e.Direction == modbus.Sent && strings.HasPrefix(e.Note, "unit 7: read ") {
					asked++
				}
			}
			if silent == 0 || asked < silent {
				t.Errorf("%d requests, %d not answered in\n%s", asked, silent, strings.Join(m.Frames, "\n"))
			}
		}
		d.Behave(sim.Behaviour{})
		r.Until("ok", func() bool { return cell.State() == actors.OK })
	})
}

func TestAWriteThatIsUnsureTellsTheLastFrames(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		audited := actorstest.Watch(r, "event/"+unitPath+"/audited", &modbusv1.Audited{})
		r.Start(unitPath, modbusunit.Kind, config())
		for _, outcome := range []string{"done", "unsure"} {
			if outcome == "unsure" {
				d.Behave(sim.Behaviour{Silent: true})
			}
			_, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(100), Values: []uint32{4711}}, &modbusv1.WriteRegistersResponse{})
			m := actorstest.Next(t, audited)
			text := strings.Join(m.Frames, "\n")
			if m.Outcome != outcome || (err == nil) != (outcome == "done") {
				t.Errorf("%v: %v", err, m)
			}
			if told := strings.Contains(text, "# unit 7: write register 100: 4711"); told != (outcome == "unsure") {
				t.Errorf("%s: the frames are\n%s", m.Outcome, text)
			}
		}
	})
}

func TestCountersOfAUnitAndItsLink(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		d.Behave(sim.Behaviour{Delay: time.Millisecond})
		r := piped(t, d, meter(8))
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		r.Start(unitPath, modbusunit.Kind, config())
		other := config()
		other.Unit = 8
		r.Start("field/plant/other", modbusunit.Kind, other)
		for range 4 {
			actorstest.NextWhere(t, data, good)
		}
		if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 60000}, &modbusv1.ReadRegistersResponse{}); err == nil {
			t.Fatal("a register that does not exist was read")
		}
		own, err := call(r, "Counters", &modbusv1.UnitServiceCountersRequest{}, &modbusv1.UnitServiceCountersResponse{})
		if err != nil {
			t.Fatal(err)
		}
		n := own.Counters
		if n.Unit != 7 || n.Answered < 2 || n.Requests != n.Answered+1+n.Timeouts || len(n.Exceptions) != 1 || n.Busy.AsDuration() <= 0 {
			t.Errorf("%v", n)
		}
		if e := n.Exceptions[0]; e.Code != 2 || e.Count != 1 || e.Meaning != "illegal data address" {
			t.Errorf("%v", e)
		}
		if l := n.Latency; l.Count != n.Answered+1 || l.Buckets[len(l.Buckets)-1].Count > l.Count {
			t.Errorf("%v", l)
		}
		all, err := actorstest.Call(r, linkPath, "Counters", &modbusv1.CountersRequest{}, &modbusv1.CountersResponse{})
		if err != nil {
			t.Fatal(err)
		}
		if u := all.Units; len(u) != 2 || u[0].Unit != 7 || u[1].Unit != 8 || u[0].Requests < n.Requests || all.Total.Requests != u[0].Requests+u[1].Requests {
			t.Errorf("%v", all)
		}
		one, err := actorstest.Call(r, linkPath, "Counters", &modbusv1.CountersRequest{Unit: proto.Uint32(9)}, &modbusv1.CountersResponse{})
		if err != nil || len(one.Units) != 1 || one.Units[0].Unit != 9 || one.Total.Requests != 0 {
			t.Errorf("%v, %v", one, err)
		}
	})
}

func TestTraceShowsWhatPasses(t *testing.T) {
	t.Parallel()
	d := meter(7)
	r := plant(t, d, meter(8))
	noFault(t, r)
	r.Start(unitPath, modbusunit.Kind, config())
	other := config()
	other.Unit = 8
	r.Start("field/plant/other", modbusunit.Kind, other)
	enough := errors.New("enough")
	trace := func(q *modbusv1.TraceRequest, take func(m *modbusv1.TraceResponse) bool) error {
		ctx, cancel := context.WithTimeout(t.Context(), actorstest.Patience)
		defer cancel()
		return r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, linkPath, "Trace"), q, func(got bus.Msg) error {
			m := &modbusv1.TraceResponse{}
			if err := got.Decode(m); err != nil {
				return err
			}
			if take(m) {
				return enough
			}
			return nil
		})
	}
	units := map[uint32]int{}
	if err := trace(&modbusv1.TraceRequest{}, func(m *modbusv1.TraceResponse) bool {
		units[m.Frame.Unit]++
		return units[7] > 3 && units[8] > 3
	}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	answers := 0
	if err := trace(&modbusv1.TraceRequest{Unit: proto.Uint32(7), Function: 3, Kept: true}, func(m *modbusv1.TraceResponse) bool {
		f := m.Frame
		if f.Mark == "opened" {
			return false
		}
		if f.Unit != 7 || f.Function != 3 || m.Framing != "tcp" || !strings.HasPrefix(f.Text, "read holding registers") || !strings.HasPrefix(f.Hex[12:], "0703") {
			t.Errorf("%v", m)
		}
		if f.Direction == "received" && strings.HasPrefix(f.Text, "read holding registers 3+") && strings.Contains(f.Text, ": 3 4 5 ") {
			answers++
		}
		return answers > 3
	}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	// A listener that has gone frees its place; their number is limited.
	for range 20 {
		err := trace(&modbusv1.TraceRequest{}, func(*modbusv1.TraceResponse) bool { return true })
		if !errors.Is(err, enough) && bus.AsError(err).Code != bus.ResourceExhausted {
			t.Fatal(err)
		}
	}
	r.Until("nobody listens", func() bool {
		err := trace(&modbusv1.TraceRequest{}, func(*modbusv1.TraceResponse) bool { return true })
		return errors.Is(err, enough)
	})
}

// Subscribers to the frames get them without any call.
func TestFramesAreOnTheBusWhileSomebodyListens(t *testing.T) {
	t.Parallel()
	r := plant(t, meter(7))
	noFault(t, r)
	r.Start(unitPath, modbusunit.Kind, config())
	for range 2 {
		frames := make(chan *modbusv1.TraceResponse, 64)
		stop, err := r.Bus.Subscribe(bus.Subject(actorstest.Gateway, bus.Trace, linkPath, "frames"), func(m bus.Msg) {
			got := &modbusv1.TraceResponse{}
			if m.Decode(got) == nil {
				select {
				case frames <- got:
				default:
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, direction := range []string{"sent", "received"} {
			actorstest.NextWhere(t, frames, func(m *modbusv1.TraceResponse) bool {
				return m.Frame.Direction == direction && m.Frame.Unit == 7 && m.Framing == "tcp"
			})
		}
		stop()
	}
}
