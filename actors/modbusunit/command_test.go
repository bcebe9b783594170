package modbusunit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func call[T proto.Message](r *actorstest.Rig, method string, req proto.Message, resp T) (T, error) {
	resp, err := actorstest.Call(r, unitPath, method, req, resp)
	var typed *bus.Error
	if errors.As(err, &typed) {
		err = typed // without the name of the call
	}
	return resp, err
}

func TestCommandsReadAndWrite(t *testing.T) {
	d := meter(7)
	r := plant(t, d)
	noFault(t, r)
	cfg := config()
	cfg.Points = append(cfg.Points, &modbusv1.Point{Name: "total", Address: 70, Type: "uint64"},
		&modbusv1.Point{Name: "state", Address: 80, Type: "uint16", Labels: []string{"0=off", "5=running"}},
		&modbusv1.Point{Name: "alarms", Address: 81, Type: "uint16", Flags: []string{"0=fan", "2=door"}})
	r.Start(unitPath, modbusunit.Kind, cfg)
	got, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 100, Quantity: 3}, &modbusv1.ReadRegistersResponse{})
	if err != nil || len(got.Values) != 3 || got.Values[2] != 102 {
		t.Errorf("ReadRegisters: %v, %v", got, err)
	}
	bits, err := call(r, "ReadBits", &modbusv1.ReadBitsRequest{Area: "discrete-input", Address: 10, Quantity: 10}, &modbusv1.ReadBitsResponse{})
	if err != nil || len(bits.Values) != 10 || bits.Values[0] || !bits.Values[9] {
		t.Errorf("ReadBits: %v, %v", bits, err)
	}
	for name, w := range map[string]struct {
		method string
		req    proto.Message
		resp   proto.Message
		table  sim.Table
		at     uint16
		want   []uint16
	}{
		"one register": {"WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(50), Values: []uint32{7}}, &modbusv1.WriteRegistersResponse{}, sim.HoldingRegisters, 50, []uint16{7}},
		"registers":    {"WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(60), Values: []uint32{1, 65535}}, &modbusv1.WriteRegistersResponse{}, sim.HoldingRegisters, 60, []uint16{1, 65535}},
		"one coil":     {"WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(51), Values: []bool{true}}, &modbusv1.WriteCoilsResponse{}, sim.Coils, 51, []uint16{1}},
		"coils":        {"WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(60), Values: []bool{false, true, true}}, &modbusv1.WriteCoilsResponse{}, sim.Coils, 60, []uint16{0, 1, 1}},
		"scaled point": {"WritePoint", &modbusv1.WritePointRequest{Point: "power", Value: &modbusv1.WritePointRequest_Number{Number: 12.3}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 10, []uint16{123}},
		"wide point":   {"WritePoint", &modbusv1.WritePointRequest{Point: "count", Value: &modbusv1.WritePointRequest_Integer{Integer: -2}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 30, []uint16{65535, 65535, 65535, 65534}},
		"great number": {"WritePoint", &modbusv1.WritePointRequest{Point: "total", Value: &modbusv1.WritePointRequest_Unsigned{Unsigned: 1<<63 + 12345}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 70, []uint16{0x8000, 0, 0, 12345}},
		"bit point":    {"WritePoint", &modbusv1.WritePointRequest{Point: "mode", Value: &modbusv1.WritePointRequest_Flag{Flag: false}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 3, []uint16{1}},
		"label":        {"WritePoint", &modbusv1.WritePointRequest{Point: "state", Value: &modbusv1.WritePointRequest_Text{Text: "running"}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 80, []uint16{5}},
		"flags":        {"WritePoint", &modbusv1.WritePointRequest{Point: "alarms", Value: &modbusv1.WritePointRequest_Text{Text: "door, fan"}}, &modbusv1.WritePointResponse{}, sim.HoldingRegisters, 81, []uint16{5}},
		"coil point":   {"WritePoint", &modbusv1.WritePointRequest{Point: "relay", Value: &modbusv1.WritePointRequest_Flag{Flag: false}}, &modbusv1.WritePointResponse{}, sim.Coils, 4, []uint16{0}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := call(r, w.method, w.req, w.resp); err != nil {
				t.Fatal(err)
			}
			got, _ := d.Get(w.table, w.at, len(w.want))
			for i := range w.want {
				if got[i] != w.want[i] {
					t.Fatalf("the device holds %v, want %v", got, w.want)
				}
			}
		})
	}
}

func TestCommandsAreRefusedClearly(t *testing.T) {
	r := plant(t, meter(7))
	noFault(t, r)
	r.Start(unitPath, modbusunit.Kind, config())
	for name, x := range map[string]struct {
		method string
		req    proto.Message
		want   string
	}{
		"no such register": {"ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 5000}, "failed_precondition: unit 7: exception 2: illegal data address"},
		"beyond the end":   {"ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 65535, Quantity: 2}, "invalid_argument: unit 7: read holding registers 65535+2: 65535+2 ends beyond address 65535"},
		"too large":        {"WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(0), Values: []uint32{70000}}, "invalid_argument: values[0]: 70000 is out of range: a register holds 0 to 65535"},
		"no such point":    {"WritePoint", &modbusv1.WritePointRequest{Point: "x", Value: &modbusv1.WritePointRequest_Number{}}, `not_found: unknown point "x"`},
		"mistyped point":   {"WritePoint", &modbusv1.WritePointRequest{Point: "powr", Value: &modbusv1.WritePointRequest_Number{}}, `not_found: unknown point "powr", did you mean "power"?`},
		"read only":        {"WritePoint", &modbusv1.WritePointRequest{Point: "limit", Value: &modbusv1.WritePointRequest_Number{}}, "invalid_argument: point limit is in area input, which cannot be written"},
		"no value":         {"WritePoint", &modbusv1.WritePointRequest{Point: "power"}, "invalid_argument: value is missing: set one of number, integer, unsigned, flag or text"},
		"out of range":     {"WritePoint", &modbusv1.WritePointRequest{Point: "power", Value: &modbusv1.WritePointRequest_Number{Number: 1e6}}, "invalid_argument: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call(r, x.method, x.req, &modbusv1.WritePointResponse{})
			if err == nil || !strings.HasPrefix(err.Error(), x.want) {
				t.Errorf("got %v, want %s", err, x.want)
			}
			if strings.Contains(x.want, "exception 2") {
				refused(t, err, `{"unit":7,"exception":2}`)
			}
		})
	}
}

// refused checks the error details for programs.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	d := actors.Details(err)
	if len(d) != 1 || d[0].Type != "modbus.v1.Refusal" || strings.ReplaceAll(string(d[0].Debug), " ", "") != want {
		t.Errorf("%v: details %+v, want %s", err, d, want)
	}
}

// unpolled is a device whose unit has no points, so only requests of the test reach it.
func unpolled(t *testing.T) (*sim.Device, *actorstest.Rig) {
	d := meter(7)
	r := piped(t, d)
	noFault(t, r)
	cfg := config()
	cfg.Points = nil
	cell := r.Start(unitPath, modbusunit.Kind, cfg)
	r.Until("ok, though it reads nothing", func() bool { return cell.State() == actors.OK })
	return d, r
}

// A write without an answer is sent once, and the caller is told that its outcome is unknown.
func TestAWriteWithoutAnswerIsUnsure(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d, r := unpolled(t)
		d.Behave(sim.Behaviour{Silent: true})
		_, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(5), Values: []uint32{99}}, &modbusv1.WriteRegistersResponse{})
		if want := "deadline_exceeded: unit 7: no answer within 2s: the write may or may not have been carried out"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		refused(t, err, `{"unit":7,"unsure":true}`)
		if n := d.Counters().Writes; n != 1 {
			t.Errorf("%d writes", n)
		}
		_, err = call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
		if want := "deadline_exceeded: unit 7: no answer within 2s"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// A device that hangs up during a write may have carried it out. The write is not repeated.
func TestAWriteIsNeverRepeated(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d, r := unpolled(t)
		d.Behave(sim.Behaviour{Lie: sim.Truncated, Hangup: true})
		for range 3 {
			before := d.Counters().Writes
			_, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(5), Values: []uint32{99}}, &modbusv1.WriteRegistersResponse{})
			if err == nil || d.Counters().Writes > before+1 {
				t.Fatalf("%v after %d writes", err, d.Counters().Writes-before)
			}
		}
	})
}

// On a unit that does not know function 22, bits are written after reading the register.
func TestBitsOfAnOldDevice(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	var functions []uint8
	register := uint16(0b1010)
	r.Peer(linkPath, oldDevice(&register, &functions))
	cfg := config()
	cfg.Points = cfg.Points[3:4]
	cfg.Every = ms(60_000)
	r.Start(unitPath, modbusunit.Kind, cfg)
	for range 2 {
		if _, err := call(r, "WritePoint", &modbusv1.WritePointRequest{Point: "mode", Value: &modbusv1.WritePointRequest_Flag{}}, &modbusv1.WritePointResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	if register != 0b1000 {
		t.Errorf("the register is %b", register)
	}
	masked := slices.DeleteFunc(functions, func(f uint8) bool { return f != modbus.MaskWriteRegister })
	if len(masked) != 1 {
		t.Errorf("function 22 was tried %d times", len(masked))
	}
}

func TestACallReachesTheDeviceInTime(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		cfg := config()
		cfg.Timeout, cfg.Points = ms(5000), nil
		r.Start(unitPath, modbusunit.Kind, cfg)
		if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{}); err != nil {
			t.Fatal(err) // the connection is established
		}
		d.Behave(sim.Behaviour{Silent: true})
		ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		_, err := r.System.Call(ctx, unitPath, "WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(0), Values: []bool{true}})
		if err == nil || !strings.Contains(err.Error(), "may or may not") {
			t.Errorf("a caller with less patience than the unit hears %v", err)
		}
	})
}

// A caller who cannot wait for a busy line is told so, and that nothing was sent.
func TestALineThatIsBusy(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		cfg := config()
		cfg.Timeout, cfg.Points = ms(60_000), nil
		r.Start(unitPath, modbusunit.Kind, cfg)
		d.Behave(sim.Behaviour{Silent: true})
		first := make(chan error, 1)
		long, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() {
			_, err := r.System.Call(long, unitPath, "ReadRegisters", &modbusv1.ReadRegistersRequest{Quantity: 1})
			first <- err
		}()
		r.Until("the line is busy", func() bool { return d.Counters().Requests == 1 })
		// The first request occupies the line for longer than the second can wait.
		short, cancelShort := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancelShort()
		_, err := r.System.Call(short, unitPath, "WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(0), Values: []bool{true}})
		if want := "resource_exhausted: unit 7: not sent: the line was busy for too long"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		cancel()
		<-first
		if n := d.Counters().Requests; n != 1 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

func TestALinkThatIsNotThere(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	cell := r.Start(unitPath, modbusunit.Kind, config())
	_, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
	if e := bus.AsError(err); e == nil || e.Code != actors.NotFound {
		t.Errorf("got %v", err)
	}
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1:1"})
	r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
	_, err = call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
	if want := "unavailable: unit 7: not connected: 127.0.0.1:1: connection refused"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Two callers who write different bits of one register at the same time do not undo each other's
// write, also on a unit that does not know function 22.
func TestBitsWrittenAtTheSameTime(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	register, functions := uint16(0), []uint8{}
	r.Peer(linkPath, oldDevice(&register, &functions))
	cfg := config()
	cfg.Every, cfg.Points = ms(60_000), nil
	const n = 16
	for i := range uint32(n) {
		cfg.Points = append(cfg.Points, &modbusv1.Point{Name: fmt.Sprintf("bit-%d", i), Address: 3, Type: "bool", Bit: &i})
	}
	r.Start(unitPath, modbusunit.Kind, cfg)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, err := call(r, "WritePoint", &modbusv1.WritePointRequest{
				Point: fmt.Sprintf("bit-%d", i), Value: &modbusv1.WritePointRequest_Flag{Flag: true},
			}, &modbusv1.WritePointResponse{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if register != 1<<n-1 {
		t.Errorf("the register is %016b", register)
	}
}

// No other write is sent between the read and the write of a register of which bits are changed.
func TestNoWriteComesBetween(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	register, functions := uint16(0), []uint8{}
	var writes []uint16 // addresses of writes; 0 for each read of the register
	answer := oldDevice(&register, &functions)
	r.Peer(linkPath, func(msg any) any {
		if ask, ok := msg.(*dispatch.Ask); ok && ask.Class <= schedule.Interactive && ask.Requests[0].Function != modbus.MaskWriteRegister {
			at := ask.Requests[0].Address
			if !ask.Requests[0].Write() {
				at = 0
			}
			writes = append(writes, at)
		}
		return answer(msg)
	})
	cfg := config()
	cfg.Every, cfg.Points = ms(60_000), cfg.Points[3:4]
	r.Start(unitPath, modbusunit.Kind, cfg)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := call(r, "WritePoint", &modbusv1.WritePointRequest{Point: "mode", Value: &modbusv1.WritePointRequest_Flag{Flag: true}}, &modbusv1.WritePointResponse{}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(40), Values: []uint32{1}}, &modbusv1.WriteRegistersResponse{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, at := range writes[:len(writes)-1] {
		if at == 0 && writes[i+1] != 3 {
			t.Fatalf("%v", writes)
		}
	}
}
