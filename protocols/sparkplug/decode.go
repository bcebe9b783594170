package sparkplug

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Parse decodes a payload. Fields unknown to this package are skipped.
func Parse(b []byte) (*Payload, error) {
	p := &Payload{Seq: NoSeq}
	err := each(b, func(n protowire.Number, f field) error {
		switch {
		case n == payloadTime && f.kind == protowire.VarintType:
			p.Time = int64(f.number)
		case n == payloadSeq && f.kind == protowire.VarintType:
			p.Seq = int(min(f.number, math.MaxInt32))
		case n == payloadMetrics && f.kind == protowire.BytesType:
			m, err := parseMetric(f.bytes)
			if err != nil {
				return fmt.Errorf("metric %d: %w", len(p.Metrics), err)
			}
			p.Metrics = append(p.Metrics, m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return p, nil
}

func parseMetric(b []byte) (m Metric, err error) {
	err = each(b, func(n protowire.Number, f field) error {
		varint := f.kind == protowire.VarintType
		switch {
		case n == metricName && f.kind == protowire.BytesType:
			if !utf8.Valid(f.bytes) {
				return errors.New("its name is not UTF-8")
			}
			m.Name = string(f.bytes)
		case n == metricAlias && varint:
			m.Alias = f.number
		case n == metricTime && varint:
			m.Time = int64(f.number)
		case n == metricType && varint:
			m.Type = DataType(f.number)
		case n == metricHistorical && varint:
			m.Historical = f.number != 0
		case n == metricNull && varint:
			m.Null = f.number != 0
		case n == metricProperties && f.kind == protowire.BytesType:
			all, err := parseSet(f.bytes)
			m.Properties = append(m.Properties, all...)
			return err
		default:
			if v := f.value(n - metricValue); v != nil {
				m.Value = v
			}
		}
		return nil
	})
	return m, err
}

func parseSet(b []byte) ([]Property, error) {
	var keys []string
	var values []Property
	err := each(b, func(n protowire.Number, f field) error {
		switch {
		case n == setKeys && f.kind == protowire.BytesType:
			keys = append(keys, string(f.bytes))
		case n == setValues && f.kind == protowire.BytesType:
			var p Property
			err := each(f.bytes, func(n protowire.Number, f field) error {
				if n == propertyType && f.kind == protowire.VarintType {
					p.Type = DataType(f.number)
				} else if v := f.value(n - propertyValue); v != nil {
					p.Value = v
				}
				return nil
			})
			values = append(values, p)
			return err
		}
		return nil
	})
	if err == nil && len(keys) != len(values) {
		err = fmt.Errorf("%d property keys but %d values", len(keys), len(values))
	}
	if err != nil {
		return nil, err
	}
	for i := range values {
		values[i].Key = keys[i]
	}
	return values, nil
}

// A field is one field of a message; kind says which of number and bytes is set.
type field struct {
	kind   protowire.Type
	number uint64
	bytes  []byte
}

// value returns the content of the field as the nth kind of value; nil if it is none.
func (f field) value(nth protowire.Number) Value {
	switch {
	case nth == 0 && f.kind == protowire.VarintType:
		return Int(f.number)
	case nth == 1 && f.kind == protowire.VarintType:
		return Long(f.number)
	case nth == 2 && f.kind == protowire.Fixed32Type:
		return math.Float32frombits(uint32(f.number))
	case nth == 3 && f.kind == protowire.Fixed64Type:
		return math.Float64frombits(f.number)
	case nth == 4 && f.kind == protowire.VarintType:
		return f.number != 0
	case nth == 5 && f.kind == protowire.BytesType:
		return string(f.bytes)
	case nth == 6 && f.kind == protowire.BytesType:
		return f.bytes
	}
	return nil
}

// each calls do for every field of a message.
func each(b []byte, do func(protowire.Number, field) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := field{kind: kind}
		switch kind {
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.number, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.number = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := do(num, f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
