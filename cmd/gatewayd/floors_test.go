package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors lists which of our folders each folder may import, besides folders below itself. A package
// is governed by the longest matching folder. "actors/*" is one actor type, which may not import
// other actor types.
var floors = map[string][]string{
	"schemas":             {},
	"protocols":           {"protocols/durable"},
	"protocols/durable":   {}, // file access that all floors use; it knows nothing of the content
	"bus":                 {"schemas", "protocols/durable"},
	"bus/hubtest":         {"bus", "schemas", "protocols"}, // support for tests
	"actors":              {"bus", "schemas", "protocols/durable"},
	"actors/*":            {"actors", "actors/accessdoor", "actors/modbusdoor", "actors/modbuslink", "actors/mqttdoor", "actors/mqttclientid", "actors/uplink", "schemas", "protocols"},
	"actors/accessdoor":   {"actors", "schemas", "protocols"},                                           // not a kind: shared by some kinds
	"actors/modbusdoor":   {"actors", "actors/accessdoor", "actors/modbuslink", "schemas", "protocols"}, // not a kind: shared by some kinds; it admits clients as other doors do, and traces frames as links do
	"actors/modbuslink":   {"actors", "schemas", "protocols"},                                           // likewise
	"actors/mqttdoor":     {"actors", "schemas", "protocols"},                                           // likewise
	"actors/mqttclientid": {"schemas", "protocols"},                                                     // likewise
	"actors/uplink":       {"actors", "schemas", "protocols"},                                           // likewise
	"actors/actorstest":   {"actors", "bus", "schemas", "supervisor", "protocols", "protocols/durable"}, // support for tests
	"supervisor":          {"actors", "bus", "schemas", "protocols/durable"},
	"cmd":                 {"actors", "actors/*", "actors/accessdoor", "supervisor", "bus", "schemas", "protocols", "protocols/durable"},
}

// beside lists folders outside these floors: they may import everything, and nothing in the floors
// may import them.
var beside = []string{"bench", "lab", "tools"}

// homes lists the folders that may import a third-party module outside tests. A new module needs an
// entry here, explained in the commit that adds it.
var homes = map[string][]string{
	"connectrpc.com/connect":              {"protocols"},
	"github.com/asynkron/protoactor-go":   {"actors", "actors/actorstest", "supervisor"},
	"github.com/creack/pty":               {"protocols"},
	"github.com/fsnotify/fsnotify":        {"cmd"},
	"github.com/grid-x/modbus":            {"protocols"},
	"github.com/klauspost/compress":       {"protocols"},
	"github.com/mochi-mqtt/server":        {"protocols"},
	"github.com/nats-io/":                 {"bus", "bus/hubtest", "protocols"},
	"github.com/pelletier/go-toml":        {"supervisor"},
	"github.com/prometheus/client_golang": {"protocols"},
	"github.com/spf13/cobra":              {"cmd"},
	"github.com/twmb/murmur3":             {"actors"},
	"go.uber.org/goleak":                  {"actors/actorstest"},
	"golang.org/x/crypto":                 {"protocols"},
	"golang.org/x/net":                    {"protocols"},
	"golang.org/x/sys":                    {"protocols", "actors/*", "supervisor", "cmd"},
	"google.golang.org/protobuf":          {"schemas", "protocols", "bus", "actors", "actors/*", "actors/actorstest", "actors/modbusdoor", "actors/modbuslink", "actors/uplink", "actors/mqttdoor", "supervisor", "cmd"},
}

// only restricts a home to some packages.
var only = map[string][]string{
	"connectrpc.com/connect":              {"protocols/web"},
	"github.com/creack/pty":               {"protocols/modbus/peer"},
	"github.com/prometheus/client_golang": {"protocols/web"},
	"github.com/pelletier/go-toml":        {"supervisor/config"},
	"github.com/grid-x/modbus":            {"protocols/modbus"},
	"golang.org/x/crypto":                 {"protocols/access"},
	"golang.org/x/net":                    {"protocols/srv"},
	"github.com/klauspost/compress":       {"protocols/compress"},
	"github.com/mochi-mqtt/server":        {"protocols/mqtt", "protocols/mqttclient"},
	"github.com/nats-io/":                 {"bus", "protocols/natssend"},
	"github.com/spf13/cobra":              {"cmd/gatewayd"},
}

// unwanted are parts of the standard library and of modules that must not get into the daemon: they
// keep the linker from removing dead code, or are parts of protoactor that have caused defects.
var unwanted = []string{
	"text/template", "html/template", "plugin",
	"github.com/asynkron/protoactor-go/router", "github.com/asynkron/protoactor-go/remote",
	"github.com/asynkron/protoactor-go/cluster", "github.com/asynkron/protoactor-go/persistence",
}

// listed is a package as printed by go list.
type listed struct {
	ImportPath string
	Imports    []string
}

func TestFloors(t *testing.T) {
	for _, p := range list(t, "gatewayd/...") {
		pkg := strings.TrimPrefix(p.ImportPath, "gatewayd/")
		if slices.Contains(beside, top(pkg)) || pkg == "gatewayd" {
			continue
		}
		for _, imp := range p.Imports {
			if why := wrong(pkg, imp); why != "" {
				t.Errorf("%s may not import %s: %s", p.ImportPath, imp, why)
			}
		}
	}
}

// The rules themselves are tested, so that a typing mistake does not permit everything.
func TestFloorsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"schemas", "gatewayd/bus", false},
		{"schemas", "gatewayd/schemas/field/v1", true},
		{"protocols/modbus", "gatewayd/schemas", false},
		{"bus", "gatewayd/protocols/durable", true},
		{"bus", "gatewayd/protocols/modbus", false},
		{"protocols/durable", "gatewayd/protocols/modbus", false},
		{"protocols/modbus/sim", "gatewayd/protocols/modbus", true},
		{"bus", "gatewayd/actors", false},
		{"actors", "gatewayd/supervisor", false},
		{"actors/drill", "gatewayd/actors", true},
		{"actors/drill", "gatewayd/bus", false},
		{"actors/drill", "gatewayd/actors/erratic", false},
		{"actors/drill", "gatewayd/supervisor", false},
		{"actors/modbusserver", "gatewayd/actors/modbusdoor", true},
		{"actors/modbusdoor", "gatewayd/actors/modbusserver", false},
		{"actors/drill", "github.com/nats-io/nats.go", false},
		{"actors/drill", "github.com/asynkron/protoactor-go/actor", false},
		{"actors/modbusunit", "gatewayd/protocols/modbus", true},
		{"supervisor", "gatewayd/actors/drill", false},
		{"supervisor/ladder", "gatewayd/actors", true},
		{"supervisor/watchdog", "github.com/pelletier/go-toml/v2", false},
		{"supervisor/config", "github.com/pelletier/go-toml/v2/unstable", true},
		{"cmd/gatewayd", "gatewayd/actors/drill", true},
		{"cmd/gatewayd", "github.com/nats-io/nats.go", false},
		{"cmd/gatewayd", "gatewayd/actors/actorstest", false},
		{"cmd/gatewayd", "gatewayd/bench", false},
		{"cmd/gatewayd", "example.com/new", false},
		{"bus", "text/template", false},
		{"bus", "os", true},
	} {
		if why := wrong(c.pkg, c.imp); (why == "") != c.ok {
			t.Errorf("%s imports %s: got %q, want ok %v", c.pkg, c.imp, why, c.ok)
		}
	}
}

func list(t *testing.T, patterns ...string) []listed {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, patterns...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// wrong returns why pkg may not import imp; empty if it may.
func wrong(pkg, imp string) string {
	here := floorOf(pkg)
	if slices.ContainsFunc(unwanted, func(u string) bool { return imp == u || strings.HasPrefix(imp, u+"/") }) {
		return "it is not wanted in the daemon"
	}
	if ours, ok := strings.CutPrefix(imp, "gatewayd/"); ok {
		there := floorOf(ours)
		own := pkg == ours || strings.HasPrefix(ours, pkg+"/") || here == there && here != "actors/*"
		if !own && !slices.Contains(floors[here], there) {
			return "it is on another floor"
		}
		return ""
	}
	if !strings.Contains(top(imp), ".") {
		return "" // the standard library
	}
	for mod, where := range homes {
		if !strings.HasPrefix(imp, mod) {
			continue
		}
		these, narrow := only[mod]
		within := slices.ContainsFunc(these, func(one string) bool { return pkg == one || strings.HasPrefix(pkg, one+"/") })
		if !slices.Contains(where, here) || narrow && !within {
			return "only " + strings.Join(slices.Concat(where, these), " ") + " may"
		}
		return ""
	}
	return "no folder is its home; see homes"
}

func floorOf(pkg string) string {
	if _, exact := floors[pkg]; exact {
		return pkg
	}
	if first := top(pkg); first != "actors" {
		return first
	}
	if strings.HasPrefix(pkg, "actors/actorstest") {
		return "actors/actorstest"
	}
	return "actors/*"
}

func top(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}
