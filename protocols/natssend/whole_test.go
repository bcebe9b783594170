package natssend_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/natssend"
	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/uplink"
)

// Overlapping batches, which occur when the outcome of one is unknown, are in the stream once and
// in order, whether it accepts atomic batches or not, and whatever their size.
func TestBatches(t *testing.T) {
	ctx, hub, js := hub(t)
	for _, whole := range []bool{true, false} {
		name := fmt.Sprintf("WHOLE-%v", whole)
		stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, AllowAtomicPublish: whole})
		if err != nil {
			t.Fatal(err)
		}
		s, err := natssend.Config{URLs: []string{hub.ClientURL()}, Form: webhook(t, name+".${gateway}"), Who: shape.Origin{Gateway: "g"}, Stream: name}.Dial(ctx, uplink.Callbacks{Lost: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		for _, span := range [][2]uint64{{1, 5}, {3, 8}, {9, 9}, {9, 10}, {5, 10}, {11, 1200}} {
			var batch []record.Record
			for n := span[0]; n <= span[1]; n++ {
				batch = append(batch, record.Record{Track: "tracks/a", Sequence: n, Fields: []record.Field{{Name: "x", Value: 1.5}}})
			}
			if err := s.Send(ctx, batch); err != nil {
				t.Fatalf("%s: %v: %v", name, span, err)
			}
		}
		if info, err := stream.Info(ctx); err != nil || info.State.Msgs != 1200 {
			t.Fatalf("%s: %+v, %v", name, info, err)
		}
		for n := uint64(1); n <= 1200; n++ {
			m, err := stream.GetMsg(ctx, n)
			var got struct{ Sequence uint64 }
			if err == nil {
				err = json.Unmarshal(m.Data, &got)
			}
			if err != nil || got.Sequence != n {
				t.Fatalf("%s: message %d is record %d: %v", name, n, got.Sequence, err)
			}
		}
	}
}
