package modbusmqtt_test

import (
	"slices"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
)

// BenchmarkOneOutstanding measures a controller that sends the next request as soon as the last one
// is answered, through our broker and firewall, to a device that answers at once. It reports the
// median and the 99th percentile.
func BenchmarkOneOutstanding(b *testing.B) {
	_, address := plc(b)
	broker := inside(b, actorstest.New(b), address)
	c := connect(b, broker, "me")
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		c.publish("1 5 rs485 1 1 3 1 4")
		if got := c.next(); got != "5 OK 0 10 20 30" {
			b.Fatal(got)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
