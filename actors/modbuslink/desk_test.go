package modbuslink_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestCountersTellATally(t *testing.T) {
	latency := make([]uint64, len(dispatch.Bounds)+1)
	latency[0], latency[2], latency[len(dispatch.Bounds)] = 3, 2, 1 // up to 1 ms, up to 5 ms, and beyond the last bound
	got := modbuslink.Counters(dispatch.Tally{
		Unit: 7, Requests: 9, Answered: 3, Exceptions: map[uint8]uint64{6: 1, 2: 2}, Timeouts: 3, Late: 1, Busy: time.Second, Latency: latency, Took: time.Minute,
	})
	if l := got.Latency; l.Count != 6 || len(l.Buckets) != len(dispatch.Bounds) || l.Buckets[0].Count != 3 || l.Buckets[1].Count != 3 || l.Buckets[2].Count != 5 ||
		l.Buckets[len(l.Buckets)-1].Count != 5 || l.Sum.AsDuration() != time.Minute || l.Buckets[2].Within.AsDuration() != 5*time.Millisecond {
		t.Errorf("%v", l)
	}
	if e := got.Exceptions; len(e) != 2 || e[0].Code != 2 || e[0].Count != 2 || e[1].Meaning != "server device busy" {
		t.Errorf("%v", e)
	}
	if got.Unit != 7 || got.Requests != 9 || got.Timeouts != 3 || got.Late != 1 || got.Busy.AsDuration() != time.Second {
		t.Errorf("%v", got)
	}
	if empty := modbuslink.Counters(dispatch.Tally{Unit: 1}); empty.Latency.Count != 0 || len(empty.Exceptions) != 0 {
		t.Errorf("%v", empty)
	}
}

func TestFailedWithoutATap(t *testing.T) {
	got := modbuslink.Failed(nil, "unreachable", "no answer", 3)
	got.Time = nil
	if want := (&modbusv1.Failed{State: "unreachable", Cause: "no answer", Untold: 3}); !proto.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := modbuslink.Failed(modbus.NewTap(), "", "", 0); got.Framing != "" || got.Frames != nil {
		t.Errorf("%v", got)
	}
}
