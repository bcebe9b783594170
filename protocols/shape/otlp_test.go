package shape_test

import (
	"testing"
	"time"

	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
)

// OpenTelemetry metrics conform to the published schema, without unknown fields, and both encodings
// have the same content. (MetricsData has the one field of ExportMetricsServiceRequest.)
func TestOTLPIsAsPublished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batch []record.Record
		points := 0
		for i := range rapid.IntRange(1, 5).Draw(t, "records") {
			r := record.Record{Track: rapid.SampledFrom([]string{"tracks/a", "tracks/b"}).Draw(t, "track"), Sequence: uint64(i + 1), Time: time.Unix(1_800_000_000+int64(i), 5), Trusted: true}
			for k := range rapid.IntRange(0, 4).Draw(t, "fields") {
				f := record.Field{Name: rapid.SampledFrom([]string{"power", "é\"\\", "on", "x"}).Draw(t, "name"), ID: uint32(k + 1), Unit: rapid.SampledFrom([]string{"", "kW", "°C"}).Draw(t, "unit")}
				switch rapid.IntRange(0, 3).Draw(t, "type") {
				case 0:
					f.Value = rapid.Float64Range(-1e9, 1e9).Draw(t, "number")
				case 1:
					f.Value = rapid.Int64().Draw(t, "whole")
				case 2:
					f.Value = uint64(rapid.Int64Min(0).Draw(t, "natural"))
				case 3:
					f.Value = rapid.Bool().Draw(t, "flag")
				}
				r.Fields = append(r.Fields, f)
				points++
			}
			batch = append(batch, r)
		}
		binary, text := &metricsv1.MetricsData{}, &metricsv1.MetricsData{}
		if err := proto.Unmarshal(shape.OTLPProtobuf("g", batch), binary); err != nil {
			t.Fatal(err)
		}
		if err := protojson.Unmarshal(shape.OTLPJSON("g", batch), text); err != nil {
			t.Fatalf("%v: %s", err, shape.OTLPJSON("g", batch))
		}
		if name := unknown(binary.ProtoReflect()); name != "" {
			t.Fatalf("%s has a field that is not in the schema", name)
		}
		if !proto.Equal(binary, text) {
			t.Fatalf("%v\n%v", binary, text)
		}
		n := 0
		for _, r := range binary.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				for _, m := range s.Metrics {
					for _, p := range m.GetGauge().GetDataPoints() {
						n++
						if m.Name == "" || p.TimeUnixNano < 1_800_000_000e9 || p.Value == nil || len(p.Attributes) == 0 {
							t.Fatalf("%v", m)
						}
					}
				}
			}
		}
		if n != points {
			t.Fatalf("%d points of %d: %v", n, points, binary)
		}
	})
}

// unknown returns a message that has fields unknown to its schema.
func unknown(m protoreflect.Message) (name protoreflect.FullName) {
	if len(m.GetUnknown()) > 0 {
		return m.Descriptor().FullName()
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				if found := unknown(v.List().Get(i).Message()); found != "" {
					name = found
				}
			}
		default:
			name = unknown(v.Message())
		}
		return name == ""
	})
	return name
}
