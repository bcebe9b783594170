package shape

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"gatewayd/protocols/record"
)

// OpenTelemetry metrics: opentelemetry-proto v1, ExportMetricsServiceRequest. A field is a gauge of
// its name with one data point per record; the attribute track names its track. A text is a gauge
// of 1 whose attribute value is the text.

// metric is all data points of one name and unit, in the order of first appearance.
type metric struct {
	name, unit string
	points     []point
}

type point struct {
	r *record.Record
	f *record.Field
}

// OTLPCarries reports whether a record contains a value that becomes a data point.
func OTLPCarries(r record.Record) bool {
	return slices.ContainsFunc(r.Fields, func(f record.Field) bool { return measurable(&f) })
}

func measurable(f *record.Field) bool {
	switch f.Value.(type) {
	case nil, []byte:
		return false
	}
	return true
}

func metricsOf(batch []record.Record) []metric {
	var all []metric
	at := map[[2]string]int{}
	for i := range batch {
		r := &batch[i]
		for j := range r.Fields {
			f := &r.Fields[j]
			if !measurable(f) {
				continue
			}
			key := [2]string{f.Name, f.Unit}
			n, known := at[key]
			if !known {
				n = len(all)
				at[key] = n
				all = append(all, metric{name: f.Name, unit: f.Unit})
			}
			all[n].points = append(all[n].points, point{r, f})
		}
	}
	return all
}

// attributes returns the attributes of a data point.
func (p point) attributes() [][2]string {
	all := [][2]string{{"track", p.r.Track}}
	if s, ok := p.f.Value.(string); ok {
		all = append(all, [2]string{"value", s})
	}
	if p.f.Quality != "" {
		all = append(all, [2]string{"quality", p.f.Quality})
	}
	return all
}

// whole returns the value of a point if it is an integer.
func (p point) whole() (int64, bool) {
	switch v := p.f.Value.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		return 1, true
	}
	return 0, false
}

func (p point) real() float64 {
	switch v := p.f.Value.(type) {
	case float64:
		return v
	case uint64:
		return float64(v)
	}
	return 0
}

// resource returns the attributes of the sender.
func resource(gateway string) [][2]string {
	return [][2]string{{"service.name", "gatewayd"}, {"service.instance.id", gateway}}
}

// OTLPJSON encodes a batch for OTLP/HTTP in JSON: 64-bit numbers are texts.
func OTLPJSON(gateway string, batch []record.Record) []byte {
	b := append(make([]byte, 0, 256*len(batch)), `{"resourceMetrics":[{"resource":{"attributes":`...)
	b = append(jsonAttributes(b, resource(gateway)), `},"scopeMetrics":[{"scope":{"name":"gatewayd"},"metrics":[`...)
	for i, m := range metricsOf(batch) {
		if i > 0 {
			b = append(b, ',')
		}
		b = text(append(b, `{"name":`...), m.name, false)
		if m.unit != "" {
			b = text(append(b, `,"unit":`...), m.unit, false)
		}
		b = append(b, `,"gauge":{"dataPoints":[`...)
		for j, p := range m.points {
			if j > 0 {
				b = append(b, ',')
			}
			b = jsonAttributes(append(b, `{"attributes":`...), p.attributes())
			b = append(strconv.AppendUint(append(b, `,"timeUnixNano":"`...), nanos(p.r), 10), '"')
			if n, ok := p.whole(); ok {
				b = append(strconv.AppendInt(append(b, `,"asInt":"`...), n, 10), `"}`...)
			} else {
				b = append(jsonDouble(append(b, `,"asDouble":`...), p.real()), '}')
			}
		}
		b = append(b, `]}}`...)
	}
	return append(b, `]}]}]}`...)
}

// jsonDouble appends a double as in protobuf's JSON, which has names for what JSON numbers cannot
// express.
func jsonDouble(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Infinity"`...)
	}
	return number(b, v)
}

func nanos(r *record.Record) uint64 {
	if r.Time.IsZero() {
		return 0
	}
	return uint64(max(r.Time.UnixNano(), 0))
}

func jsonAttributes(b []byte, all [][2]string) []byte {
	b = append(b, '[')
	for i, a := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = text(append(b, `{"key":`...), a[0], false)
		b = append(text(append(b, `,"value":{"stringValue":`...), a[1], false), `}}`...)
	}
	return append(b, ']')
}

// OTLPProtobuf encodes the same in protobuf.
func OTLPProtobuf(gateway string, batch []record.Record) []byte {
	var scope []byte
	scope = nested(scope, 1, stringField(nil, 1, "gatewayd")) // scope: name
	for _, m := range metricsOf(batch) {
		var gauge []byte
		for _, p := range m.points {
			var d []byte
			d = protowire.AppendTag(d, 3, protowire.Fixed64Type) // time_unix_nano
			d = protowire.AppendFixed64(d, nanos(p.r))
			if n, ok := p.whole(); ok {
				d = protowire.AppendTag(d, 6, protowire.Fixed64Type) // as_int, sfixed64
				d = protowire.AppendFixed64(d, uint64(n))
			} else {
				d = protowire.AppendTag(d, 4, protowire.Fixed64Type) // as_double
				d = protowire.AppendFixed64(d, math.Float64bits(p.real()))
			}
			for _, a := range p.attributes() {
				d = nested(d, 7, attribute(a))
			}
			gauge = nested(gauge, 1, d) // data_points
		}
		one := stringField(nil, 1, m.name)
		if m.unit != "" {
			one = stringField(one, 3, m.unit)
		}
		scope = nested(scope, 2, nested(one, 5, gauge)) // metrics: gauge
	}
	var who []byte
	for _, a := range resource(gateway) {
		who = nested(who, 1, attribute(a))
	}
	// resource_metrics: resource, scope_metrics.
	return nested(nil, 1, nested(nested(nil, 1, who), 2, scope))
}

func attribute(a [2]string) []byte { // KeyValue with an AnyValue
	return nested(stringField(nil, 1, a[0]), 2, stringField(nil, 1, a[1]))
}

func stringField(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func nested(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}
