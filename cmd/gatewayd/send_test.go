package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"gatewayd/protocols/mqttclient/mosquitto"
)

// TestSendPage runs each config of docs/send.md beside a far end of its kind, and sees it connected.
func TestSendPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/send.md")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	hub, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	t.Cleanup(hub.Shutdown)
	if !hub.ReadyForConnections(patience) {
		t.Fatal("the hub does not start")
	}
	broker := mosquitto.Run(t)
	places := strings.NewReplacer("http://cloud.example:8080", web.URL, "tcp://broker.example:1883", "tcp://"+broker, "nats://hub.example:4333", hub.ClientURL(),
		`kind = "bus"`, "kind = \"bus\"\nlisten = \"127.0.0.1:0\"\nanonymous = \"operator\"")
	script, files := "", ""
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("%d configs", len(blocks))
	}
	for i, m := range blocks {
		file := fmt.Sprintf("send%d.toml", i)
		files += "-- " + file + " --\n" + places.Replace(m[1])
		script += "exec gatewayd check " + file + "\nexec gatewayd run --config " + file + fmt.Sprintf(" &gateway%d&\n", i) +
			"until 'uplinks/cloud +sending +0 ' exec gatewayd uplinks\n" + fmt.Sprintf("signal TERM\nwait gateway%d\n", i)
	}
	file := filepath.Join(t.TempDir(), "send.txtar")
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scripts()
	p.Dir, p.Files = "", []string{file}
	testscript.Run(t, p)
}
