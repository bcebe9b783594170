package sparkplug

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields (specification 6.4.1).
const (
	payloadTime    protowire.Number = 1
	payloadMetrics protowire.Number = 2
	payloadSeq     protowire.Number = 3

	metricName       protowire.Number = 1
	metricAlias      protowire.Number = 2
	metricTime       protowire.Number = 3
	metricType       protowire.Number = 4
	metricHistorical protowire.Number = 5
	metricNull       protowire.Number = 7
	metricProperties protowire.Number = 9
	// The first of int, long, float, double, boolean, string, bytes.
	metricValue protowire.Number = 10

	setKeys   protowire.Number = 1
	setValues protowire.Number = 2

	propertyType  protowire.Number = 1
	propertyNull  protowire.Number = 2
	propertyValue protowire.Number = 3 // the first, as above, without bytes
)

// Append appends the encoded p to b.
func (p *Payload) Append(b []byte) []byte {
	if p.Time != 0 {
		b = number(b, payloadTime, uint64(p.Time))
	}
	for i := range p.Metrics {
		b = protowire.AppendTag(b, payloadMetrics, protowire.BytesType)
		b = protowire.AppendBytes(b, p.Metrics[i].append(nil))
	}
	if p.Seq != NoSeq {
		b = number(b, payloadSeq, uint64(p.Seq))
	}
	return b
}

func (m *Metric) append(b []byte) []byte {
	if m.Name != "" {
		b = protowire.AppendTag(b, metricName, protowire.BytesType)
		b = protowire.AppendString(b, m.Name)
	}
	if m.Alias != 0 {
		b = number(b, metricAlias, m.Alias)
	}
	if m.Time != 0 {
		b = number(b, metricTime, uint64(m.Time))
	}
	if m.Type != 0 {
		b = number(b, metricType, uint64(m.Type))
	}
	if m.Historical {
		b = number(b, metricHistorical, 1)
	}
	if m.Null {
		b = number(b, metricNull, 1)
	}
	if len(m.Properties) > 0 {
		b = protowire.AppendTag(b, metricProperties, protowire.BytesType)
		b = protowire.AppendBytes(b, set(m.Properties))
	}
	return value(b, metricValue, m.Value)
}

// set encodes a PropertySet: the keys, then as many values.
func set(all []Property) []byte {
	var b []byte
	for _, p := range all {
		b = protowire.AppendTag(b, setKeys, protowire.BytesType)
		b = protowire.AppendString(b, p.Key)
	}
	for _, p := range all {
		v := number(nil, propertyType, uint64(p.Type))
		if p.Value == nil {
			v = number(v, propertyNull, 1)
		}
		v = value(v, propertyValue, p.Value)
		b = protowire.AppendTag(b, setValues, protowire.BytesType)
		b = protowire.AppendBytes(b, v)
	}
	return b
}

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// value appends v; first is the field number for an Int, and those of the other kinds follow it.
func value(b []byte, first protowire.Number, v Value) []byte {
	switch v := v.(type) {
	case Int:
		return number(b, first, uint64(v))
	case Long:
		return number(b, first+1, uint64(v))
	case float32:
		return protowire.AppendFixed32(protowire.AppendTag(b, first+2, protowire.Fixed32Type), math.Float32bits(v))
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(b, first+3, protowire.Fixed64Type), math.Float64bits(v))
	case bool:
		return number(b, first+4, protowire.EncodeBool(v))
	case string:
		return protowire.AppendString(protowire.AppendTag(b, first+5, protowire.BytesType), v)
	case []byte:
		return protowire.AppendBytes(protowire.AppendTag(b, first+6, protowire.BytesType), v)
	}
	return b
}
