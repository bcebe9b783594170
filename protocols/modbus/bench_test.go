package modbus_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

// wired is a Link over a paced line at baud whose devices answer frames with pause of turnaround.
func wired(t testing.TB, o line.Options, baud int, answer func(frame []byte, sent time.Time) ([]byte, time.Duration)) (*modbus.Link, *line.Line) {
	t.Helper()
	o.Dir, o.Name = t.TempDir(), "rs485"
	wire, err := line.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	wire.Attach(answer)
	port, err := serial.Open(serial.Config{Path: wire.Path(), Baud: baud, Parity: "even"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	timer, err := serial.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = timer.Close() })
	return modbus.NewLink(port, modbus.RTU, modbus.Options{Baud: baud, Timer: timer, Timeout: 500 * time.Millisecond}), wire
}

// registers answers reads of holding registers with their addresses.
func registers(frame []byte) []byte {
	q, err := modbus.ParseRequest(frame[0], frame[1:len(frame)-2])
	if err != nil {
		return nil
	}
	var answer modbus.Response
	for i := range q.Quantity {
		answer.Data = append(answer.Data, byte((q.Address+i)>>8), byte(q.Address+i))
	}
	pdu, err := modbus.AppendResponse(nil, q, answer)
	if err != nil {
		return nil
	}
	return modbus.AppendFrame(nil, modbus.RTU, 0, q.Unit, pdu)
}

// BenchmarkLine polls as fast as the wire allows: share of its limit in the median, CPU per poll with the simulated wire included, and
// pauses that were too short.
func BenchmarkLine(b *testing.B) {
	for _, baud := range []int{9600, 19200, 115200} {
		for _, quantity := range []uint16{10, 125} {
			b.Run(fmt.Sprintf("%d/%d", baud, quantity), func(b *testing.B) {
				l, wire := wired(b, line.Options{}, baud, func(f []byte, _ time.Time) ([]byte, time.Duration) { return registers(f), 0 })
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				r := read(1, 0, quantity)
				if _, err := l.Do(ctx, r); err != nil {
					b.Fatal(err)
				}
				limit := time.Duration(13+2*quantity)*serial.CharTime(baud, 11) + 2*serial.Silence(baud)
				took, cpu := make([]time.Duration, 0, 1000), used()
				for b.Loop() {
					began := time.Now()
					if _, err := l.Do(ctx, r); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.ReportMetric(float64(limit)/float64(took[len(took)/2]), "of-limit-p50")
				b.ReportMetric(float64((used()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(wire.Stats().Violations), "violations")
			})
		}
	}
}

func BenchmarkTCP(b *testing.B) {
	for _, quantity := range []uint16{10, 125} {
		b.Run(fmt.Sprint(quantity), func(b *testing.B) {
			d := sim.NewDevice(1)
			d.Put(sim.HoldingRegisters, 0, make([]uint16, 200)...)
			l := linked(b, sim.NewPlant(d), modbus.TCP, modbus.Options{})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r := read(1, 0, quantity)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Do(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
