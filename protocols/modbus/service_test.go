package modbus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

// equipped returns a meter with everything that a device can have besides its tables.
func equipped(unit uint8) *sim.Device {
	d := meter(unit)
	d.Status(0x6d)
	d.ServerID('m', 'e', 't', 'e', 'r', 0xff, 'v', '1')
	d.Queue(1246, 440, 4740)
	d.Queue(1300)
	d.Queue(1400, make([]uint16, 32)...)
	d.File(3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	d.File(4, 0, 0x0dfe, 0x0020)
	objects := map[uint8]string{0: "Acme", 1: "M-1", 2: "V1.0", 3: "http://acme.example", 4: "Meter", 5: "M"}
	for i := range uint8(4) {
		objects[0x80+i] = strings.Repeat(string('a'+rune(i)), 100)
	}
	d.Identity(objects)
	return d
}

// asker carries out transactions: a Link or a Pipe.
type asker interface {
	Do(ctx context.Context, r modbus.Request) (modbus.Response, error)
}

func TestEveryServiceOverEveryFraming(t *testing.T) {
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			l := linked(t, sim.NewPlant(equipped(7)), f, modbus.Options{Timeout: 20 * time.Second, Late: time.Millisecond})
			everyService(t, l, f)
		})
	}
}

func everyService(t *testing.T, l asker, f modbus.Framing) {
	t.Helper()
	ask := func(r modbus.Request) []byte {
		t.Helper()
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got.Data
	}
	refused := func(r modbus.Request, code uint8) {
		t.Helper()
		if _, err := l.Do(context.Background(), r); !isException(err, code) {
			t.Errorf("%v: %v, want exception %d", r, err, code)
		}
	}
	bare := func(function uint8) modbus.Request { return modbus.Request{Unit: 7, Function: function} }
	expect := func(what string, got []byte, want ...byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", what, got, want)
		}
	}
	expect("counter", ask(bare(modbus.ReadEventCounter)), 0, 0, 0, 0)
	expect("status", ask(bare(modbus.ReadExceptionStatus)), 0x6d)
	expect("server id", ask(bare(modbus.ReportServerID)), []byte("meter\xffv1")...)
	expect("loopback", ask(modbus.Diagnose(7, modbus.ReturnQueryData, 0xa5, 0x37)), 0xa5, 0x37)
	long := bytes.Repeat([]byte{0xa5, 0x37}, 125)
	expect("long loopback", ask(modbus.Diagnose(7, modbus.ReturnQueryData, long...)), long...)
	refused(read(7, 65000, 1), modbus.IllegalAddress)
	expect("counter after", ask(bare(modbus.ReadEventCounter)), 0, 0, 0, 4)
	expect("exceptions", ask(modbus.Diagnose(7, modbus.ReturnBusExceptions, 0, 0)), 0, 1)
	expect("server messages", ask(modbus.Diagnose(7, modbus.ReturnServerMessages, 0, 0)), 0, 9)
	log, err := modbus.ParseEvents(ask(bare(modbus.ReadEventLog)))
	if err != nil || log.Count != 6 || log.Messages != 10 || len(log.Events) != 19 || log.Events[0] != 0x80 || log.Events[7] != 0x41 {
		t.Errorf("log %+v %v", log, err)
	}
	expect("queue", ask(modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1246}), 1, 0xb8, 0x12, 0x84)
	expect("empty queue", ask(modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1300}))
	refused(modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1400}, modbus.IllegalValue)
	refused(modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1}, modbus.IllegalAddress)
	r := modbus.ReadFiles(7, modbus.Records{File: 4, Record: 1, Length: 2}, modbus.Records{File: 3, Record: 9, Length: 2})
	runs, err := modbus.ParseFiles(r, ask(r))
	if err != nil || fmt.Sprint(runs) != "[{4 1 2 [3582 32]} {3 9 2 [19 20]}]" {
		t.Errorf("files %v %v", runs, err)
	}
	ask(modbus.WriteFiles(7, modbus.Records{File: 4, Values: []uint16{1, 2}}, modbus.Records{File: 3, Record: 10, Values: []uint16{9}}))
	r = modbus.ReadFiles(7, modbus.Records{File: 4, Length: 3})
	if runs, err = modbus.ParseFiles(r, ask(r)); err != nil || fmt.Sprint(runs[0].Values) != "[1 2 32]" {
		t.Errorf("files after writing %v %v", runs, err)
	}
	refused(modbus.ReadFiles(7, modbus.Records{File: 5, Length: 1}), modbus.IllegalAddress)
	refused(modbus.WriteFiles(7, modbus.Records{File: 4, Values: make([]uint16, 4)}), modbus.IllegalAddress)
	refused(modbus.Request{Unit: 7, Function: 100, Data: []byte{1, 2, 3}}, modbus.IllegalFunction)
	identified(t, l)
	silenced(t, l, f)
}

// identified reads the identification by stream and by individual access.
func identified(t *testing.T, l asker) {
	t.Helper()
	parts, objects := 0, 0
	for next, more := uint8(0), true; more; parts++ {
		got, err := l.Do(context.Background(), modbus.Identify(7, modbus.ExtendedIdentification, next))
		if err != nil {
			t.Fatal(err)
		}
		id, err := modbus.ParseIdentification(got.Data)
		if err != nil || id.Conformity != 0x83 {
			t.Fatal(id, err)
		}
		objects += len(id.Objects)
		next, more = id.Next, id.More
	}
	if parts != 3 || objects != 10 {
		t.Errorf("%d objects in %d parts", objects, parts)
	}
	got, err := l.Do(context.Background(), modbus.Identify(7, modbus.OneObject, 1))
	if id, _ := modbus.ParseIdentification(got.Data); err != nil || len(id.Objects) != 1 || string(id.Objects[0].Value) != "M-1" {
		t.Error(id, err)
	}
	if _, err := l.Do(context.Background(), modbus.Identify(7, modbus.OneObject, 99)); !isException(err, modbus.IllegalAddress) {
		t.Errorf("an object that is not there: %v", err)
	}
}

// silenced forces a unit into listen-only mode and back.
func silenced(t *testing.T, l asker, f modbus.Framing) {
	t.Helper()
	r := modbus.Diagnose(7, modbus.ForceListenOnly, 0, 0)
	r.Timeout = 300 * time.Millisecond
	if _, err := l.Do(context.Background(), r); err != nil {
		t.Fatalf("listen only: %v", err)
	}
	r = modbus.Diagnose(7, modbus.RestartCommunications, 0xff, 0)
	r.Timeout = 300 * time.Millisecond
	if f == modbus.RTUOverTCP || f == modbus.ASCIIOverTCP {
		return // silence costs the connection
	}
	if _, err := l.Do(context.Background(), r); !errors.Is(err, modbus.ErrTimeout) || modbus.NotSent(err) {
		t.Errorf("a unit that only listens restarts without an answer: %v", err)
	}
	<-time.After(5 * time.Millisecond) // until no answer is outstanding
	got, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.ReadEventLog})
	if log, _ := modbus.ParseEvents(got.Data); err != nil || log.Messages != 1 || len(log.Events) != 2 || log.Events[1] != 0 {
		t.Errorf("after restarting: %+v %v", log, err)
	}
}

// A function that the specification does not define is answered with arbitrary data; on a line only
// a pause marks the end.
func TestAFunctionOfItsOwn(t *testing.T) {
	want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			near, far := ends(t, f)
			done := make(chan struct{})
			go func() {
				defer close(done)
				q, err := modbus.NewRequestReader(far, f).Next()
				if err != nil || q.Refused == nil {
					t.Errorf("%+v %v", q, err)
				}
				frame := modbus.AppendFrame(nil, f, q.Transaction, q.Unit, append([]byte{q.Function}, want...))
				_, _ = far.Write(frame[:7])
				<-time.After(50 * time.Millisecond) // longer than the pause
				_, _ = far.Write(frame[7:])
			}()
			l := modbus.NewLink(near, f, modbus.Options{Timeout: 20 * time.Second})
			got, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: 100, Data: []byte{9}})
			if err != nil || !bytes.Equal(got.Data, want) {
				t.Errorf("% x %v", got.Data, err)
			}
			<-done
		})
	}
}

// TestMisbehavingServices: whatever wrong answers a device sends, none is accepted.
func TestMisbehavingServices(t *testing.T) {
	requests := []modbus.Request{
		{Unit: 7, Function: modbus.ReadExceptionStatus}, {Unit: 7, Function: modbus.ReadEventCounter}, {Unit: 7, Function: modbus.ReadEventLog},
		{Unit: 7, Function: modbus.ReportServerID}, {Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1246},
		modbus.ReadFiles(7, modbus.Records{File: 4, Length: 3}), modbus.WriteFiles(7, modbus.Records{File: 4, Values: []uint16{1}}),
		modbus.Diagnose(7, modbus.ReturnBusMessages, 0, 0), modbus.Diagnose(7, modbus.ReturnQueryData, 1, 2), modbus.Identify(7, modbus.OneObject, 0),
	}
	for _, f := range framings {
		for lie, b := range map[string]sim.Behaviour{
			"wrong unit": {Lie: sim.WrongUnit}, "wrong function": {Lie: sim.WrongFunction}, "too short": {Lie: sim.WrongLength},
			"cut": {Lie: sim.Truncated}, "silent": {Silent: true}, "noisy": {Noise: 0.2, Seed: 3},
		} {
			t.Run(f.String()+" "+lie, func(t *testing.T) {
				for _, r := range requests {
					synctest.Test(t, func(t *testing.T) {
						d := equipped(7)
						near, far := calm(t)
						serve(t, sim.NewPlant(d), far, f)
						d.Behave(b)
						r.Timeout = 20 * time.Millisecond
						if got, err := modbus.NewLink(near, f, modbus.Options{}).Do(context.Background(), r); err == nil || modbus.NotSent(err) {
							t.Errorf("%v: %x %v", r, got.Data, err)
						}
					})
				}
			})
		}
	}
}

// A late answer of such a function is not taken for that of the next request.
func TestLateServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := equipped(7)
		d.Queue(1, 1111)
		d.Queue(2, 2222)
		near, far := calm(t)
		serve(t, sim.NewPlant(d), far, modbus.RTU)
		l := modbus.NewLink(near, modbus.RTU, modbus.Options{Late: time.Second})
		queue := func(address uint16, timeout time.Duration) ([]byte, error) {
			got, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: address, Timeout: timeout})
			return got.Data, err
		}
		d.Behave(sim.Behaviour{Late: 600 * time.Millisecond})
		if _, err := queue(1, 50*time.Millisecond); !errors.Is(err, modbus.ErrTimeout) {
			t.Fatal(err)
		}
		d.Behave(sim.Behaviour{})
		got, err := queue(2, 20*time.Second)
		for errors.Is(err, modbus.ErrOwed) { // nothing was sent
			<-time.After(10 * time.Millisecond)
			got, err = queue(2, 20*time.Second)
		}
		if err != nil || binary.BigEndian.Uint16(got) != 2222 {
			t.Errorf("read % x %v", got, err)
		}
	})
}

func TestBroadcastOfAFile(t *testing.T) {
	a, b := equipped(7), equipped(8)
	l := linked(t, sim.NewPlant(a, b), modbus.RTU, modbus.Options{Turnaround: 50 * time.Millisecond})
	begin := time.Now()
	got, err := l.Do(context.Background(), modbus.WriteFiles(0, modbus.Records{File: 4, Record: 2, Values: []uint16{77}}))
	if took := time.Since(begin); err != nil || got.Data != nil || took < 50*time.Millisecond {
		t.Error(got, err, took)
	}
	if a.Records(4)[2] != 77 || b.Records(4)[2] != 77 {
		t.Error(a.Records(4), b.Records(4))
	}
}
