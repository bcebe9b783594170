package track

import (
	"fmt"
	"slices"

	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/record"
	"gatewayd/protocols/recorder"
	"gatewayd/schemas"
	trackv1 "gatewayd/schemas/track/v1"
)

// triggerOf parses the trigger; nil if there is none.
func triggerOf(cfg *trackv1.Trigger) (*recorder.Trigger, error) {
	if cfg == nil {
		return nil, nil
	}
	t := &recorder.Trigger{
		Cause: cfg.Start, Before: cfg.Before.AsDuration(), After: cfg.After.AsDuration(), Burst: cfg.Burst.AsDuration(),
	}
	var err error
	if t.Start, _, err = condition(cfg.Start); err == nil && cfg.Stop != "" {
		t.Stop, _, err = condition(cfg.Stop)
	}
	return t, err
}

// strangers finds names in the trigger that are not fields.
func strangers(cfg *trackv1.Trigger, fields []string) (found []schemas.Violation) {
	for _, key := range []string{"start", "stop"} {
		text := cfg.GetStart()
		if key == "stop" {
			text = cfg.GetStop()
		}
		if text == "" {
			continue
		}
		_, names, err := condition(text)
		for _, name := range names {
			if err == nil && !slices.Contains(fields, name) {
				found = append(found, schemas.Violation{
					Field: "trigger." + key, Message: fmt.Sprintf("unknown field %q%s", name, schemas.DidYouMean(name, fields)),
				})
			}
		}
	}
	return found
}

// judgement evaluates a condition; known is false if the values do not suffice.
type judgement func(value func(name string) (record.Value, bool)) (yes, known bool)

// guessed is the largest number of fields in a condition that may be flags, since all combinations
// are tried.
const guessed = 8

// condition parses a boolean expression and returns the names of its fields. The type of a field is
// unknown before its first value, so all combinations of numbers and flags are tried and the first
// valid one is used.
func condition(text string) (_ judgement, names []string, _ error) {
	var first error
	for flags := 0; flags < 1<<min(len(names), guessed); flags++ {
		e, err := points.ParseExpression(text, func(name string) (flag, ok bool) {
			i := slices.Index(names, name)
			if i < 0 {
				i = len(names)
				names = append(names, name)
			}
			return flags&(1<<min(i, guessed)) != 0, true
		})
		if err == nil && e.Flag() {
			return judge(e), names, nil
		}
		if err == nil {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
		if first == nil {
			first = err
		}
	}
	return nil, nil, first
}

func judge(e *points.Expression) judgement {
	return func(value func(string) (record.Value, bool)) (bool, bool) {
		v, err := e.Value(func(i int) (points.Value, error) {
			if v, ok := value(e.Names[i]); ok {
				return pointOf(v)
			}
			return points.Value{}, points.ErrNoValue
		})
		yes, flag := v.Bool()
		return yes, err == nil && flag
	}
}

func pointOf(v record.Value) (points.Value, error) {
	switch v := v.(type) {
	case bool:
		return points.Flag(v), nil
	case float64:
		return points.Number(v), nil
	case int64:
		return points.Number(float64(v)), nil
	case uint64:
		return points.Number(float64(v)), nil
	}
	return points.Value{}, points.ErrNoValue
}
