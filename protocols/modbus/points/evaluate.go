package points

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Flag reports whether the result of the expression is true or false rather than a number.
func (e *Expression) Flag() bool { return e.flag }

// Value computes the expression. point returns the value of one of Names, by its index, or why
// there is none. It is called only for the points that are needed, so that cond(valid, a, b) does
// not need both a and b. A result that is not finite is ErrNoValue.
func (e *Expression) Value(point func(i int) (Value, error)) (Value, error) {
	f, err := e.root.eval(point)
	switch {
	case err != nil:
		return Value{}, err
	case e.flag:
		return Flag(f != 0), nil
	case math.IsNaN(f) || math.IsInf(f, 0):
		return Value{}, fmt.Errorf("the result is %g: %w", f, ErrNoValue)
	}
	return Number(f), nil
}

func (n *node) eval(point func(int) (Value, error)) (float64, error) {
	switch n.op {
	case "number":
		return n.number, nil
	case "point":
		return pointNumber(point(n.index))
	}
	first, err := n.parts[0].eval(point)
	if err != nil {
		return 0, err
	}
	switch {
	case n.op == "&&" && first == 0, n.op == "||" && first != 0:
		return first, nil
	case n.op == "cond" && first != 0:
		return n.parts[1].eval(point)
	case n.op == "cond":
		return n.parts[2].eval(point)
	}
	args := make([]float64, len(n.parts))
	args[0] = first
	for i := 1; i < len(n.parts); i++ {
		if args[i], err = n.parts[i].eval(point); err != nil {
			return 0, err
		}
	}
	return n.compute(args)
}

func pointNumber(v Value, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	if f, ok := v.Float64(); ok {
		return f, nil
	}
	if on, ok := v.Bool(); ok {
		return truth(on), nil
	}
	return 0, fmt.Errorf("%q is not a number: %w", v, ErrNoValue)
}

func truth(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

var errDivision = errors.New("division by zero")

func (n *node) compute(args []float64) (float64, error) {
	a, b := args[0], args[len(args)-1]
	switch n.op {
	case "plus":
		return a, nil
	case "negative":
		return -a, nil
	case "not":
		return 1 - a, nil
	case "&&", "||":
		return b, nil
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/", "%":
		return divide(n.op, a, b)
	case "min":
		return slices.Min(args), nil
	case "max":
		return slices.Max(args), nil
	case "abs":
		return math.Abs(a), nil
	case "round":
		return rounded(args)
	}
	return n.compare(a, b), nil
}

func divide(op string, a, b float64) (float64, error) {
	switch {
	case b == 0:
		return 0, fmt.Errorf("%w: %w", errDivision, ErrNoValue)
	case op == "%":
		return math.Mod(a, b), nil
	}
	return a / b, nil
}

func rounded(args []float64) (float64, error) {
	if len(args) == 1 {
		return math.Round(args[0]), nil
	}
	if d := args[1]; d != math.Trunc(d) || d < 0 || d > 15 {
		return 0, fmt.Errorf("cannot round to %g decimals: want 0 to 15: %w", args[1], ErrNoValue)
	}
	return Round(args[0], int(args[1])), nil
}

func (n *node) compare(a, b float64) float64 {
	switch n.op {
	case "<":
		return truth(a < b)
	case "<=":
		return truth(a <= b)
	case ">":
		return truth(a > b)
	case ">=":
		return truth(a >= b)
	case "==":
		return truth(a == b)
	}
	return truth(a != b)
}
