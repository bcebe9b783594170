package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The peer of figures "poll" and "fast", built from its module with only the plugins it needs.
const (
	telegrafVersion = "v1.37.2"
	telegrafTags    = "custom,inputs.modbus,outputs.mqtt,serializers.json"
)

// telegraf returns the path of the binary, which it builds if necessary. The binary is kept in the
// user's cache, since it takes a minute to build.
func telegraf(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "gatewayd-bench", "telegraf-"+telegrafVersion)
	bin := filepath.Join(dir, "telegraf")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", "-tags", telegrafTags, "github.com/influxdata/telegraf/cmd/telegraf@"+telegrafVersion)
	cmd.Dir = dir // outside our module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir, "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("telegraf %s can not be built: %w: %s", telegrafVersion, err, lastLine(string(text)))
	}
	return bin, nil
}

// telegrafConfig returns a config that polls the same units as ours, each over a connection of its
// own.
func telegrafConfig(modbusAddr string, mqttPort int, l load) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[agent]
interval = "%s"
flush_interval = "%[1]s"
omit_hostname = true
metric_batch_size = 1000
metric_buffer_limit = 10000
quiet = true

[[outputs.mqtt]]
servers = ["tcp://127.0.0.1:%[2]d"]
topic = "telegraf"
qos = 0
data_format = "json"
`, l.every, mqttPort)
	for i := range l.units {
		fmt.Fprintf(&b, "\n[[inputs.modbus]]\nname = \"u%d\"\ncontroller = \"tcp://%s\"\ntimeout = \"1s\"\nconfiguration_type = \"request\"\n", i, modbusAddr)
		fmt.Fprintf(&b, "[[inputs.modbus.request]]\nslave_id = 1\nbyte_order = \"ABCD\"\nregister = \"holding\"\nfields = [\n")
		for r := range l.points {
			fmt.Fprintf(&b, "{ address = %d, name = \"r%d\", type = \"UINT16\" },\n", r, r)
		}
		b.WriteString("]\n")
	}
	return b.String()
}
