package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// toolsScene is a gateway with meter 7 on its line, and another meter 7 in place of the addresses
// in the README.
const toolsScene = `
exec gatewayd sim --pty=$WORK/tty0 --units 7 &line&
exec gatewayd sim --pty=$WORK/tty1 --units 7 --profile eastron-sdm630 &alone&
freeport PORT
exec gatewayd sim --listen 127.0.0.1:$PORT --units 7 &tcp&
until '^0 ' exec gatewayd read tcp://127.0.0.1:$PORT/7 holding 0
until '^0 ' exec gatewayd read rtu://$WORK/tty1/7?baud=9600 input 0
exec gatewayd run --config gateway.toml &gateway&
until '● ok' exec gatewayd tree field/rs485-1/meter-7
`

const toolsConfig = `
-- gateway.toml --
gateway = "test"

[bus]
kind   = "bus"
listen = "127.0.0.1:0"

[field.rs485-1.line]
kind = "serial-line"
port = "tty0"

[field.rs485-1.meter-7]
kind   = "modbus-unit"
link   = "field/rs485-1/line"
unit   = 7
every  = "200ms"
points = [{ name = "x", address = 0, type = "uint16" }]
`

// TestReadmeTools runs the commands for technicians in the README, one by one, with addresses that
// exist here.
func TestReadmeTools(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## A technician's tools")
	m := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(section)
	if !found || m == nil {
		t.Fatal("the README has no tools")
	}
	script := toolsScene
	for line := range strings.Lines(m[1]) {
		command, _, _ := strings.Cut(line, " #")
		script += toolCommand(strings.TrimSpace(command))
	}
	file := filepath.Join(t.TempDir(), "readme.txtar")
	if err := os.WriteFile(file, []byte(script+toolsConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scripts()
	p.Dir, p.Files = "", []string{file}
	testscript.Run(t, p)
}

// toolCommand returns a command of the README as a line of a script. Commands that run for long or
// without end are cut short.
func toolCommand(command string) string {
	command = strings.NewReplacer(
		"tcp://10.0.0.5/", "tcp://127.0.0.1:$PORT/", "'rtu:///dev/ttyUSB0/7?baud=9600&parity=even'", "'rtu://'$WORK'/tty1/7?baud=9600&parity=even'",
	).Replace(command)
	switch {
	case strings.HasPrefix(command, "gatewayd sim") && strings.Contains(command, "--pty"):
		return simulated(strings.Replace(command, "--pty", "--pty=$WORK/tty2", 1), "pty", "rtu://$WORK/tty2/1")
	case strings.HasPrefix(command, "gatewayd sim"):
		return "freeport SIM\n" + simulated(command+" --listen 127.0.0.1:$SIM", "sim", "tcp://127.0.0.1:$SIM/1")
	case strings.HasPrefix(command, "gatewayd scan"):
		command += " --units 7-8 --wait 5s"
	case strings.Contains(command, "://"):
		command += " --answer 30s"
	case strings.HasPrefix(command, "gatewayd trace"):
		command += " -n 6"
	}
	return "exec " + command + "\nstdout .\n"
}

// simulated runs a simulation until its first unit has answered.
func simulated(command, name, target string) string {
	return "exec " + command + " &" + name + "&\nuntil '^0 ' exec gatewayd read " + target + " input 0\nsignal INT\nwait " + name + "\n"
}
