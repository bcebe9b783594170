package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
)

// Faults are the faults known to ParseFault, for display.
var Faults = []string{
	"slow=TIME", "late=TIME", "silent", "flaky=PERCENT", "noisy=PERCENT", "exception=CODE", "lying[=WAY]", "hangup",
}

var lies = map[string]Lie{
	"wrong-unit": WrongUnit, "wrong-function": WrongFunction, "wrong-length": WrongLength, "previous": Previous, "truncated": Truncated,
}

// ParseFault adds the fault described by text to a behaviour: slow=200ms, late=2s, silent,
// flaky=25% (of requests ignored), noisy=0.1% (of an answer's bits flipped), exception=4, lying (in
// another unit's name) or lying=wrong-function, wrong-length, previous, truncated; hangup.
func ParseFault(b Behaviour, text string) (Behaviour, error) {
	name, value, given := strings.Cut(text, "=")
	var err error
	switch name {
	case "slow":
		b.Delay, err = parseTime(value)
	case "late":
		b.Late, err = parseTime(value)
	case "flaky":
		b.Flaky, err = parseShare(value)
	case "noisy":
		b.Noise, err = parseShare(value)
	case "exception":
		b.Exception, err = parseException(value)
	case "lying":
		b.Lie, err = parseLie(value, given)
	case "silent", "hangup":
		b.Silent, b.Hangup = b.Silent || name == "silent", b.Hangup || name == "hangup"
		if given {
			err = fmt.Errorf("%s takes no value", name)
		}
	default:
		return b, fmt.Errorf("unknown fault %q: want one of %s", name, strings.Join(Faults, ", "))
	}
	if err != nil {
		return b, fmt.Errorf("fault %q: %w", text, err)
	}
	return b, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration like 200ms", text)
	}
	return d, nil
}

// parseShare parses a percentage and returns a probability.
func parseShare(text string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(f > 0 && f <= 100) {
		return 0, fmt.Errorf("%q is not a percentage above 0%% and up to 100%%", text)
	}
	return f / 100, nil
}

func parseException(text string) (uint8, error) {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not an exception code from 1 to 255 (4 is %s)", text, (&modbus.Exception{Code: 4}).Error())
	}
	return uint8(n), nil
}

func parseLie(text string, given bool) (Lie, error) {
	if !given {
		return WrongUnit, nil
	}
	l, ok := lies[text]
	if !ok {
		return Honest, fmt.Errorf("unknown lie %q: want one of wrong-unit, wrong-function, wrong-length, previous, truncated", text)
	}
	return l, nil
}
