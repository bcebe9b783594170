package points

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// known are the points used in the expressions of these tests.
func known(name string) (flag, ok bool) {
	switch name {
	case "a", "b", "power-l1", "u.1":
		return false, true
	case "on":
		return true, true
	}
	return false, false
}

func values(e *Expression) func(int) (Value, error) {
	all := map[string]Value{"a": Number(6), "b": Integer(-4), "power-l1": Unsigned(230), "u.1": Number(0.5), "on": Flag(true)}
	return func(i int) (Value, error) { return all[e.Names[i]], nil }
}

func TestExpressions(t *testing.T) {
	for text, want := range map[string]Value{
		`a + b*2`:                  Number(-2),
		`(a + b) * 2`:              Number(4),
		`-a % 4`:                   Number(-2),
		`"power-l1" / 0x0A`:        Number(23),
		"`u.1` * 1e3 - +1":         Number(499),
		`min(a, b, 1)`:             Number(-4),
		`max(a)`:                   Number(6),
		`abs(b)`:                   Number(4),
		`round(2.5)`:               Number(3),
		`round(a / 7, 2)`:          Number(0.86),
		`cond(a > b, a, 1/0)`:      Number(6),
		`cond(on, 1, 2)`:           Number(1),
		`a >= 6 && !(b == 0)`:      Flag(true),
		`on == (a < b) || a != a`:  Flag(false),
		`on || 1/0 > 1`:            Flag(true),
		`!on && 1/0 > 1`:           Flag(false),
		`cond(on, true, false)`:    Flag(true),
		`0b11 + 0o17 + 1_000 + .5`: Number(1018.5),
	} {
		e, err := ParseExpression(text, known)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.Value(values(e)); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestExpressionsRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                        "not a valid expression",
		`a +`:                     "not a valid expression",
		`c * 2`:                   `there is no point "c"`,
		`"power-l2"`:              `there is no point "power-l2"`,
		`a + on`:                  "true or false as a number",
		`a && on`:                 "uses a number as true or false",
		`!a`:                      "uses a number as true or false",
		`on == 1`:                 "uses a number as true or false",
		`a == on`:                 "as a number",
		`cond(a, 1, 2)`:           `"a" uses a number`,
		`cond(on, 1, on)`:         "a number in both cases",
		`sqrt(a)`:                 `unknown function "sqrt"`,
		`abs(a, b)`:               "wrong number of arguments",
		`min()`:                   "wrong number of arguments",
		`a & 1`:                   `"&" is not supported`,
		`a[0]`:                    `"a[0]" is not supported`,
		`func() {}`:               "not supported",
		`a.b`:                     `"a.b" is not supported`,
		`'x'`:                     "neither a number nor a point",
		`1i`:                      "neither a number nor a point",
		`min(a...)`:               "not supported",
		`^a`:                      "not supported",
		strings.Repeat("a+", 600): "at most 1000",
	} {
		if e, err := ParseExpression(text, known); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, %v, want …%s…", text, e, err, want)
		}
	}
}

func TestExpressionsWithoutResult(t *testing.T) {
	for text, want := range map[string]string{
		`a / (b + 4)`: "division by zero",
		`a % 0`:       "division by zero",
		`1e308 * 10`:  "the result is +Inf",
		`round(a, b)`: "want 0 to 15",
	} {
		e, err := ParseExpression(text, known)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := e.Value(values(e)); !errors.Is(err, ErrNoValue) || !strings.Contains(err.Error(), want) || v != (Value{}) {
			t.Errorf("%s: got %v, %v", text, v, err)
		}
	}
	e, _ := ParseExpression("a + b", known)
	poor := errors.New("timeout")
	if _, err := e.Value(func(int) (Value, error) { return Value{}, poor }); !errors.Is(err, poor) {
		t.Errorf("got %v", err)
	}
}

// An expression has the same result as the same operations in Go.
func TestExpressionsComputeAsGoDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, want := drawExpression(t, 4)
		e, err := ParseExpression(text, known)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Value(values(e))
		if math.IsInf(want, 0) || math.IsNaN(want) {
			if !errors.Is(err, ErrNoValue) {
				t.Fatalf("%s is %v, %v, want none", text, got, err)
			}
			return
		}
		if err != nil || got != Number(want) {
			t.Fatalf("%s is %v, %v, want %g", text, got, err, want)
		}
	})
}

func drawExpression(t *rapid.T, depth int) (string, float64) {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		n := rapid.IntRange(0, 20).Draw(t, "number")
		if n == 20 {
			return "a", 6
		}
		return fmt.Sprint(n), float64(n)
	}
	left, a := drawExpression(t, depth-1)
	right, b := drawExpression(t, depth-1)
	switch rapid.IntRange(0, 4).Draw(t, "operation") {
	case 0:
		return "(" + left + " + " + right + ")", a + b
	case 1:
		return "(" + left + " - " + right + ")", a - b
	case 2:
		return "(" + left + " * " + right + ")", a * b
	case 3:
		if b == 0 {
			return "(" + left + " / " + right + ")", math.NaN()
		}
		return "(" + left + " / " + right + ")", a / b
	}
	return "max(" + left + ", " + right + ")", max(a, b)
}

func TestSequence(t *testing.T) {
	uses := map[string][]string{"a": {"b", "x"}, "b": {"c"}, "c": nil}
	names := []string{"a", "b", "c"}
	got, err := Sequence(names, func(i int) []string { return uses[names[i]] })
	if err != nil || fmt.Sprint(got) != "[2 1 0]" {
		t.Errorf("got %v, %v", got, err)
	}
	uses["c"] = []string{"a"}
	if _, err := Sequence(names, func(i int) []string { return uses[names[i]] }); err == nil || !strings.Contains(err.Error(), "a from b from c from a") {
		t.Errorf("got %v", err)
	}
}

// Any text is rejected, or computes a finite number, a flag or an error.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"a+b", `cond(on, "power-l1", 2)`, "a[1:2]", "func(){}", "((((", "min(1,)", "1/0", "a.(type)", "x{1}", "\"\\x00\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExpression(text, known)
		if err != nil {
			return
		}
		v, err := e.Value(values(e))
		if n, ok := v.Float64(); err == nil && ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
			t.Fatalf("%s is %v", text, v)
		}
	})
}
