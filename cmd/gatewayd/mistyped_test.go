package main

import (
	"strings"
	"testing"

	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/exit"
)

// A mistyped command line is answered in one line that says what to type.
func TestMistyped(t *testing.T) {
	for line, want := range map[string]string{
		"tre":                            `unknown command "tre" for "gatewayd", did you mean "tree"?`,
		"nonsense":                       `unknown command "nonsense" for "gatewayd"`,
		"fleet lss":                      `unknown command "lss" for "gatewayd fleet", did you mean "ls"?`,
		"tree --jsn":                     `unknown flag: --jsn, did you mean "--json"?`,
		"tree --bananas":                 `unknown flag: --bananas`,
		"tree -z":                        `unknown shorthand flag: 'z' in -z`,
		"write x/y holding 5 -12":        `-12 is read as a flag: write -- before the first argument to pass a negative number`,
		"read x/y holding -1":            `-1 is read as a flag: write -- before the first argument to pass a negative number`,
		"counters":                       `write it as: gatewayd counters PATH`,
		"drill kill":                     `write it as: gatewayd drill FAULT PATH`,
		"call":                           `write it as: gatewayd call PATH METHOD [JSON|-]`,
		"demo extra":                     `write it as: gatewayd demo`,
		"access may nobody":              `write it as: gatewayd access may IDENTITY TOPIC`,
		"tree --timeout bananas":         `invalid argument "bananas" for "--timeout" flag: time: invalid duration "bananas"`,
		"events -n x":                    `invalid argument "x" for "-n, --count" flag: want a whole number`,
		"events -n 1e99":                 `invalid argument "1e99" for "-n, --count" flag: want a whole number`,
		"events -n 99999999999999999999": `invalid argument "99999999999999999999" for "-n, --count" flag: out of range`,
		"tree --json=maybe":              `invalid argument "maybe" for "--json" flag: want true or false`,
		"replay x --speed fast":          `invalid argument "fast" for "--speed" flag: want a number`,
		"completion bsh":                 `unknown command "bsh" for "gatewayd completion", did you mean "bash"?`,
		"completion bash nonsense":       `write it as: gatewayd completion bash`,
	} {
		root := command(new(daemon.Serving))
		root.SetArgs(strings.Fields(line))
		cmd, err := root.ExecuteC()
		if err == nil {
			t.Errorf("%s is taken", line)
			continue
		}
		if got := mistyped(cmd, err.Error()); got != want || exit.Code(err) != 2 {
			t.Errorf("%s: %q, exit code %d; want %q", line, got, exit.Code(err), want)
		}
	}
}
