package httpserver

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/web"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const (
	// countersOf is the method that lines and links of every kind implement.
	countersOf = "modbus.v1.LinkService.Counters"
	// countTime is how long a scrape waits for the counters. Lines that have not answered by then
	// are left out.
	countTime = 500 * time.Millisecond
)

// tallied is the counters of a line or link.
type tallied struct {
	path  string
	units []*modbusv1.Counters
}

// tallies asks all lines and links for their counters at once.
func tallies(gate actors.Gate, name string) []tallied {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	var asked, topics []string
	for _, o := range gate.Operations() {
		if o.Method.FullName() == countersOf {
			asked, topics = append(asked, o.Path), append(topics, "cmd/"+o.Path+"/Counters")
		}
	}
	var all []tallied
	for i, a := range gate.CallAll(ctx, actors.Caller{Identity: "actor/" + name}, topics, "application/protobuf", nil) {
		var r modbusv1.CountersResponse
		if a.Err == nil && proto.Unmarshal(a.Payload, &r) == nil {
			all = append(all, tallied{asked[i], r.Units})
		}
	}
	return all
}

// modbusFamilies returns the outcome of requests to Modbus units as Prometheus metrics.
func modbusFamilies(all []tallied) []web.Family {
	of := func(name, help string, add func(*modbusv1.Counters, func(web.Sample, ...string))) web.Family {
		f := web.Family{Name: "gatewayd_modbus_" + name, Help: help, Counter: true, Labels: []string{"path", "unit"}}
		for _, t := range all {
			for _, u := range t.units {
				add(u, func(s web.Sample, more ...string) {
					s.Labels = append([]string{t.path, strconv.Itoa(int(u.Unit))}, more...)
					f.Samples = append(f.Samples, s)
				})
			}
		}
		return f
	}
	count := func(name, help string, value func(*modbusv1.Counters) uint64) web.Family {
		return of(name+"_total", help, func(u *modbusv1.Counters, add func(web.Sample, ...string)) { add(web.Sample{Value: float64(value(u))}) })
	}
	refused := of("exceptions_total", "Exception responses of the unit, by exception code.", func(u *modbusv1.Counters, add func(web.Sample, ...string)) {
		for _, e := range u.Exceptions {
			add(web.Sample{Value: float64(e.Count)}, strconv.Itoa(int(e.Code)))
		}
	})
	refused.Labels = append(refused.Labels, "code")
	return []web.Family{
		count("requests", "Requests sent to the unit.", (*modbusv1.Counters).GetRequests),
		count("answered", "Requests answered with data.", (*modbusv1.Counters).GetAnswered),
		refused,
		count("timeouts", "Requests without an answer in time.", (*modbusv1.Counters).GetTimeouts),
		count("corrupt", "Answers with a bad checksum or otherwise corrupt.", (*modbusv1.Counters).GetCorrupt),
		count("mismatched", "Answers with another unit, function or length than requested.", (*modbusv1.Counters).GetMismatched),
		count("retries", "Requests repeated because the connection was lost.", (*modbusv1.Counters).GetRetries),
		count("late", "Answers that arrived after their request had timed out.", (*modbusv1.Counters).GetLate),
		of("busy_seconds_total", "Time for which the unit occupied the line or connection, waiting included.", func(u *modbusv1.Counters, add func(web.Sample, ...string)) {
			add(web.Sample{Value: u.Busy.AsDuration().Seconds()})
		}),
		of("latency_seconds", "Time from the end of a request on the wire to its answer.", func(u *modbusv1.Counters, add func(web.Sample, ...string)) {
			h := web.Histogram{Count: u.Latency.GetCount(), Buckets: map[float64]uint64{}}
			for _, b := range u.Latency.GetBuckets() {
				h.Buckets[b.Within.AsDuration().Seconds()] = b.Count
			}
			add(web.Sample{Value: u.Latency.GetSum().AsDuration().Seconds(), Histogram: &h})
		}),
	}
}
