package modbuslink

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func (d *Dispatcher) counters(m *modbusv1.CountersRequest) *modbusv1.CountersResponse {
	all := d.Tallies()
	if m.Unit != nil {
		all = []dispatch.Tally{d.Tally(uint8(*m.Unit))}
	}
	r := &modbusv1.CountersResponse{Total: Counters(dispatch.Total(all)), Noise: d.Tap.Noise()}
	for _, t := range all {
		r.Units = append(r.Units, Counters(t))
	}
	return r
}

// Counters converts a tally to its message.
func Counters(t dispatch.Tally) *modbusv1.Counters {
	m := &modbusv1.Counters{
		Unit: uint32(t.Unit), Requests: t.Requests, Answered: t.Answered, Timeouts: t.Timeouts, Corrupt: t.Corrupt, Mismatched: t.Mismatched,
		Retries: t.Retries, Late: t.Late, Busy: durationpb.New(t.Busy), Latency: latency(t),
	}
	for _, code := range slices.Sorted(maps.Keys(t.Exceptions)) {
		m.Exceptions = append(m.Exceptions, &modbusv1.ExceptionCount{Code: uint32(code), Meaning: modbus.ExceptionName(code), Count: t.Exceptions[code]})
	}
	return m
}

// latency returns the histogram of a tally. Its buckets are cumulative.
func latency(t dispatch.Tally) *modbusv1.Latency {
	l := &modbusv1.Latency{Sum: durationpb.New(t.Took)}
	for class, n := range t.Latency {
		l.Count += n
		if class < len(dispatch.Bounds) {
			l.Buckets = append(l.Buckets, &modbusv1.LatencyBucket{Within: durationpb.New(dispatch.Bounds[class]), Count: l.Count})
		}
	}
	return l
}
