package schemas

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Scalar converts what a user wrote (string, int64, float64 or bool) to a value of the field; for a
// list, to one element. The error says what was expected, or what is allowed if the number does not
// fit the field's type.
func Scalar(fd protoreflect.FieldDescriptor, v any) (protoreflect.Value, error) {
	if text, ok := v.(string); ok && fd.Message() != nil {
		return messageFromText(fd, text)
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		if s, ok := v.(string); ok {
			return protoreflect.ValueOfString(s), nil
		}
	case protoreflect.BoolKind:
		if b, ok := v.(bool); ok {
			return protoreflect.ValueOfBool(b), nil
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if f, ok := float(v); ok {
			return floatValue(fd, f), nil
		}
	default:
		if i, ok := v.(int64); ok && fd.Message() == nil {
			return integerValue(fd, i)
		}
	}
	return protoreflect.Value{}, fmt.Errorf("expected %s, got %s", Expected(fd), Got(v))
}

// Expected describes in words what one value of a field is.
func Expected(fd protoreflect.FieldDescriptor) string {
	switch {
	case IsDuration(fd):
		return `a duration like "1m30s"`
	case fd.Message() != nil && fd.Message().FullName() == timestampName:
		return `a time like "2026-01-31T12:00:00Z"`
	case fd.Message() != nil:
		return "a table"
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "a number"
	default:
		return "a whole number"
	}
}

// Got describes in words a value found where something else was expected.
func Got(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the text %q", v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e9 {
			return fmt.Sprintf("the number %.1f", v)
		}
		return "the number " + number(v)
	case *structpb.Struct:
		return "a table"
	case *structpb.ListValue:
		return "a list"
	default:
		return "nothing"
	}
}

func messageFromText(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch fd.Message().FullName() {
	case durationName:
		d, err := time.ParseDuration(text)
		if err != nil {
			return protoreflect.Value{}, fmt.Errorf("%q is not a duration like %q", text, "1m30s")
		}
		return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), nil
	case timestampName:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return protoreflect.Value{}, fmt.Errorf("%q is not a time like %q", text, "2026-01-31T12:00:00Z")
		}
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()), nil
	}
	return protoreflect.Value{}, fmt.Errorf("expected %s, got %s", Expected(fd), Got(text))
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func floatValue(fd protoreflect.FieldDescriptor, f float64) protoreflect.Value {
	if fd.Kind() == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(f))
	}
	return protoreflect.ValueOfFloat64(f)
}

func integerValue(fd protoreflect.FieldDescriptor, i int64) (protoreflect.Value, error) {
	low, high := integerBounds(fd.Kind())
	if float64(i) < low || float64(i) > high {
		return protoreflect.Value{}, fmt.Errorf("%d is out of range: %s", i, allowed(fd))
	}
	switch fd.Kind() {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(i)), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(i)), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(i)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(i), nil
	}
	return protoreflect.Value{}, fmt.Errorf("cannot be written as a number")
}

// integerBounds returns the bounds of a type; 64-bit bounds are rounded.
func integerBounds(k protoreflect.Kind) (low, high float64) {
	switch k {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return 0, math.MaxUint32
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return 0, math.MaxUint64
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return math.MinInt32, math.MaxInt32
	default:
		return math.MinInt64, math.MaxInt64
	}
}

// parseText parses a scalar from text, as in a rule's default.
func parseText(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	if fd.Message() != nil || fd.Kind() == protoreflect.StringKind {
		return Scalar(fd, text)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if b, err := strconv.ParseBool(text); err == nil {
			return Scalar(fd, b)
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return Scalar(fd, f)
		}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return protoreflect.ValueOfUint64(u), nil
		}
	default:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return Scalar(fd, i)
		}
	}
	return protoreflect.Value{}, fmt.Errorf("expected %s, got %s", Expected(fd), Got(text))
}

// parseTexts parses a list's default, spelled ["a", "b"].
func parseTexts(text string) ([]string, error) {
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("expected a list of texts: %w", err)
	}
	return list, nil
}

func number(f float64) string {
	if a := math.Abs(f); a >= 1e21 || (a != 0 && a < 1e-9) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// DurationText returns the shortest text of a duration that ParseDuration accepts, e.g. "1m", not
// "1m0s".
func DurationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func seconds(s float64) string {
	return DurationText(time.Duration(math.Round(s * float64(time.Second))))
}
