package modbus_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

// wired returns a Link over a paced line at baud whose devices answer after a turnaround pause.
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

// wireDir is the environment variable that makes the test program act as a wire in that directory
// and do nothing else.
const wireDir = "MODBUS_TEST_WIRE"

// serveWire runs a paced line with a meter until its input ends. It reports when it is ready, and
// how many pauses were too short.
func serveWire(dir string) {
	wire, err := line.New(line.Options{Dir: dir, Name: "rs485"})
	if err != nil {
		fmt.Println(err)
		return
	}
	wire.Attach(func(f []byte, _ time.Time) ([]byte, time.Duration) { return registers(f), 0 })
	fmt.Println(wire.Path())
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(wire.Stats().Violations)
	_ = wire.Close()
}

// apart returns a Link over a wire in a separate process, so that the measured CPU time is that of
// the Link. The func ends the process and returns the number of violations.
func apart(b *testing.B, baud int) (*modbus.Link, func() (violations int)) {
	b.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), wireDir+"="+b.TempDir())
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	path, violations := "", -1
	_, _ = fmt.Fscanln(out, &path)
	end := sync.OnceValue(func() int {
		_ = in.Close()
		_, _ = fmt.Fscanln(out, &violations)
		_ = c.Wait()
		return violations
	})
	b.Cleanup(func() { end() })
	port, err := serial.Open(serial.Config{Path: path, Baud: baud, Parity: "even"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = port.Close() })
	timer, err := serial.NewTimer()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = timer.Close() })
	return modbus.NewLink(port, modbus.RTU, modbus.Options{Baud: baud, Timer: timer, Timeout: 500 * time.Millisecond}), end
}

// BenchmarkLine polls as fast as the wire allows. It reports the median share of the wire's limit,
// the CPU time per poll without that of the simulated wire, and the number of pauses that were too
// short.
func BenchmarkLine(b *testing.B) {
	for _, baud := range []int{9600, 19200, 115200} {
		for _, quantity := range []uint16{10, 125} {
			b.Run(fmt.Sprintf("%d/%d", baud, quantity), func(b *testing.B) {
				l, end := apart(b, baud)
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
				spent := used() - cpu
				slices.Sort(took)
				b.ReportMetric(float64(limit)/float64(took[len(took)/2]), "of-limit-p50")
				b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(end()), "violations")
			})
		}
	}
}

func BenchmarkTCP(b *testing.B) {
	for _, quantity := range []uint16{10, 125} {
		b.Run(fmt.Sprint(quantity), func(b *testing.B) {
			d := sim.NewDevice(1)
			d.Put(sim.HoldingRegisters, 0, make([]uint16, 200)...)
			l := linked(b, sim.NewPlant(d), modbus.TCP, modbus.Options{Tap: modbus.NewTap()})
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
