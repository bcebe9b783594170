package schemas

import (
	"math"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// bounds returns the bounds of a field; a duration is never negative.
func bounds(fd protoreflect.FieldDescriptor) (low, high float64) {
	rule := RuleOf(fd)
	low, high = math.Inf(-1), math.Inf(1)
	if proto.Size(rule) > 0 && (IsDuration(fd) || unsigned(fd)) || fd.IsList() {
		low = 0
	}
	if rule.Min != nil {
		low = rule.GetMin()
	}
	if rule.Max != nil {
		high = rule.GetMax()
	}
	return low, high
}

// outside reports whether f is out of bounds; it is true for NaN if a bound is set.
func outside(f float64, fd protoreflect.FieldDescriptor) bool {
	low, high := bounds(fd)
	if math.IsNaN(f) {
		return !math.IsInf(low, 0) || !math.IsInf(high, 0)
	}
	return f < low || f > high
}

// allowed describes the bounds of a field in words, e.g. "50 to 12000000 Bd".
func allowed(fd protoreflect.FieldDescriptor) string {
	low, high := bounds(fd)
	if wholeNumber(fd) {
		l, h := integerBounds(fd.Kind())
		low, high = max(low, l), min(high, h)
	}
	say := number
	if IsDuration(fd) {
		say = seconds
	}
	var s string
	switch {
	case math.IsInf(high, 0) || high >= math.MaxInt64:
		s = "at least " + say(low)
	case math.IsInf(low, 0):
		s = "at most " + say(high)
	default:
		s = say(low) + " to " + say(high)
	}
	if unit := RuleOf(fd).GetUnit(); unit != "" {
		s += " " + unit
	}
	return s
}

func wholeNumber(fd protoreflect.FieldDescriptor) bool {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BoolKind, protoreflect.BytesKind, protoreflect.EnumKind,
		protoreflect.DoubleKind, protoreflect.FloatKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return false
	}
	return !fd.IsList()
}

func unsigned(fd protoreflect.FieldDescriptor) bool {
	low, _ := integerBounds(fd.Kind())
	return wholeNumber(fd) && low == 0
}

func numeric(v protoreflect.Value) (float64, bool) {
	switch n := v.Interface().(type) {
	case float64:
		return n, true
	case float32:
		return float64(n), true
	case int32:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint32:
		return float64(n), true
	case uint64:
		return float64(n), true
	}
	return 0, false
}

func numberText(v protoreflect.Value) string {
	if f, ok := v.Interface().(float64); ok {
		return number(f)
	}
	return v.String()
}
