package line_test

import (
	"context"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

// BenchmarkExchange exchanges requests and replies of 10 registers' length as fast as the wire
// allows. It reports how close it comes to that limit and what it costs.
func BenchmarkExchange(b *testing.B) {
	for _, baud := range []int{9600, 19200, 115200} {
		b.Run(fmt.Sprint(baud), func(b *testing.B) {
			l, err := line.New(line.Options{Dir: b.TempDir(), Name: "rs485"})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			request, reply := make([]byte, 8), make([]byte, 25)
			l.Attach(func([]byte, time.Time) ([]byte, time.Duration) { return reply, 0 })
			p, err := serial.Open(serial.Config{Path: l.Path(), Baud: baud, Parity: "even"})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			timer, err := serial.NewTimer()
			if err != nil {
				b.Fatal(err)
			}
			defer timer.Close()
			wire := time.Duration(len(request)+len(reply)) * serial.CharTime(baud, 11)
			buf, began, cpu := make([]byte, len(reply)), time.Now(), used()
			for b.Loop() {
				p.Write(request)
				timer.Wait(context.Background(), wire+serial.Silence(baud))
				if _, err := io.ReadFull(p, buf); err != nil {
					b.Fatal(err)
				}
				timer.Wait(context.Background(), serial.Silence(baud))
			}
			each := time.Since(began) / time.Duration(b.N)
			b.ReportMetric(float64(wire+2*serial.Silence(baud))/float64(each), "of-limit")
			b.ReportMetric(float64((used()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(l.Stats().Violations), "violations")
		})
	}
}

func used() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
