package httpserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	modbusv1 "gatewayd/schemas/modbus/v1"
	webv1 "gatewayd/schemas/web/v1"
)

// counting is a line that returns these counters, or none.
type counting struct{ units []*modbusv1.Counters }

func (l counting) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		c.OK()
	case *modbusv1.CountersRequest:
		if l.units == nil {
			c.Take()
			return nil
		}
		c.Reply(&modbusv1.CountersResponse{Units: l.units})
	}
	return nil
}

// Lines and links are asked for the counters of each unit; one that does not answer does not keep
// the others from being shown.
func TestMetricsOfModbusUnits(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{})
	line := func(path string, units ...*modbusv1.Counters) {
		k := actors.Define(actors.Kind{Name: strings.ReplaceAll(path, "/", "-"), Doc: "counts",
			Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
		}, func(*structpb.Struct) actors.Actor { return counting{units} })
		cell := r.Start(path, k, &structpb.Struct{})
		r.Until("it runs", func() bool { return cell.State() == actors.OK })
	}
	for i := range 20 {
		line(fmt.Sprint("field/a-hangs-", i))
	}
	line("field/line", &modbusv1.Counters{
		Unit: 7, Requests: 10, Answered: 5, Timeouts: 1, Corrupt: 2, Mismatched: 3, Retries: 4, Late: 6, Busy: durationpb.New(1500 * time.Millisecond),
		Exceptions: []*modbusv1.ExceptionCount{{Code: 2, Count: 9}},
		Latency: &modbusv1.Latency{Count: 5, Sum: durationpb.New(250 * time.Millisecond), Buckets: []*modbusv1.LatencyBucket{
			{Within: durationpb.New(10 * time.Millisecond), Count: 3}, {Within: durationpb.New(time.Second), Count: 5},
		}},
	})
	got := curl(t, "http://"+addr+"/metrics")
	for _, want := range []string{
		`requests_total{path="field/line",unit="7"} 10`, `answered_total{path="field/line",unit="7"} 5`, `timeouts_total{path="field/line",unit="7"} 1`,
		`corrupt_total{path="field/line",unit="7"} 2`, `mismatched_total{path="field/line",unit="7"} 3`, `retries_total{path="field/line",unit="7"} 4`,
		`late_total{path="field/line",unit="7"} 6`, `busy_seconds_total{path="field/line",unit="7"} 1.5`,
		`exceptions_total{code="2",path="field/line",unit="7"} 9`,
		`latency_seconds_bucket{path="field/line",unit="7",le="0.01"} 3`, `latency_seconds_bucket{path="field/line",unit="7",le="1"} 5`,
		`latency_seconds_sum{path="field/line",unit="7"} 0.25`, `latency_seconds_count{path="field/line",unit="7"} 5`,
	} {
		if !strings.Contains(got, "\ngatewayd_modbus_"+want+"\n") {
			t.Errorf("there is no gatewayd_modbus_%s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
