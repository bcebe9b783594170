package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTalkPage runs what docs/talk.md shows, block by block, with free ports: each block makes the
// same call and gets the same answer.
func TestTalkPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/talk.md")
	if err != nil {
		t.Fatal(err)
	}
	script, files, answer := "freeport BUS\nfreeport MQTT\nfreeport HTTP\n", "", ""
	ports := strings.NewReplacer("4222", "$BUS", "1883", "$MQTT", "8080", "$HTTP")
	calls := 0
	for i, m := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		kind, block := m[1], m[2]
		file := fmt.Sprintf("block%d.%s", i, kind)
		run := map[string]string{"sh": "sh", "python": "/usr/bin/python3"}[kind]
		switch {
		case kind == "toml":
			script += "subst " + file + "\nexec gatewayd check " + file + "\nexec gatewayd run --config " + file + " &gateway&\n" +
				"until 'http +http-server +● ok' exec gatewayd tree\nuntil 'mqtt +mqtt-broker +● ok' exec gatewayd tree\n" +
				"needs mosquitto-clients sh -c 'command -v mosquitto_rr'\nneeds curl curl --version\nneeds python3-paho-mqtt /usr/bin/python3 -c 'import paho.mqtt'\n"
		case kind == "json":
			answer = strings.NewReplacer(":", ": ?", ",", ", ?").Replace(regexp.QuoteMeta(strings.TrimSpace(block))) // spaces in the JSON of protobuf vary
			continue
		case run == "":
			t.Fatalf("a block of %s is not run", kind)
		default:
			calls++
			script += "subst " + file + "\nuntil '" + answer + "' exec " + run + " " + file + "\n"
		}
		files += "-- " + file + " --\n" + ports.Replace(block)
	}
	if calls < 7 || answer == "" {
		t.Fatalf("%d calls, answered %q", calls, answer)
	}
	script += "signal TERM\nwait gateway\n"
	file := filepath.Join(t.TempDir(), "talk.txtar")
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scripts()
	p.Dir, p.Files = "", []string{file}
	testscript.Run(t, p)
}
