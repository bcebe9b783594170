package demo

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gatewayd/cmd/gatewayd/client"
)

// hints returns commands to try on this gateway.
func (d *demo) hints() []string {
	self, server, nats, mqtt := invocation(), "", "", ""
	if url := "nats://" + d.bus; url != client.DefaultURL {
		server, nats = " --server "+url, " --server "+url
	}
	if host, port, err := net.SplitHostPort(d.mqtt); err == nil && port != "1883" {
		mqtt = " -p " + port
		if host != "127.0.0.1" {
			mqtt = " -h " + host + mqtt
		}
	}
	return []string{
		self + " watch" + server + " 'data/field/#'    or: nats" + nats + " sub 'gw.demo.data.>'",
		"mosquitto_sub" + mqtt + " -t 'data/#' -v",
		self + " call" + server + ` field/plc/mixer WriteRegisters '{"address":10,"values":[42]}'`,
		self + " call" + server + ` field/pump Set '{"name":"relay","flag":true}'    switch the plug over MQTT`,
		self + " uplinks" + server + " --follow    two clouds; the link to one is cut now and then",
		mbpoll(d.modbus, "-t 4:float -B -r 11 -c 2") + "    voltage and power of meter-1, from the gateway's Modbus server",
		mbpoll(d.modbus, "-r 2") + " 1200    write the mixer's setpoint",
		mbpoll(d.gateway, "-t 3:float -B -r 1 -c 2") + "    meter-1 itself, through the gateway, while it is polled",
	}
}

// mbpoll returns an mbpoll command for unit 1 behind a port.
func mbpoll(addr, what string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "mbpoll " + addr
	}
	return "mbpoll -1 -a 1 -p " + port + " " + what + " " + host
}

// invocation returns the command by which a shell can run this program again: "go run ..." if it
// was run that way, else its name if it is in the PATH, else its file.
func invocation() string {
	parent, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", os.Getppid()))
	if by, ok := goRun(strings.Split(string(bytes.TrimRight(parent, "\x00")), "\x00"), len(os.Args)-1); ok {
		return by
	}
	if _, err := exec.LookPath("gatewayd"); err == nil {
		return "gatewayd"
	}
	return os.Args[0]
}

// goRun returns the part of a "go run" command line before the last args arguments; ok is false for
// any other command line.
func goRun(line []string, args int) (by string, ok bool) {
	n := len(line) - args
	if n < 3 || filepath.Base(line[0]) != "go" || line[1] != "run" {
		return "", false
	}
	return "go " + strings.Join(line[1:n], " "), true
}
